//! The command line of the bare loop.
//!
//! Defaults are what came out best on ext4 on a virtio disk: 0.17 CPU-s/GiB with blocks of 512 KiB and 1 MiB, 0.21 to 0.4
//! with 256 KiB, 0.4 to 0.6 with 64 KiB. A run on another disk tries --block and --depth first: a floor that was not
//! tuned flatters what is compared with it.

use baselines::place::Place;
use clap::{Parser, ValueEnum};

/// Receives objects over HTTP into files, as cheaply as the kernel allows.
#[derive(Parser)]
pub struct Options {
    #[command(flatten)]
    /// Address, root, core.
    pub place: Place,
    /// Size of a block, a multiple of 4096: one receive, one write.
    #[arg(long, default_value_t = 1 << 20)]
    pub block: usize,
    /// Blocks a connection has: one fills while the others are written.
    #[arg(long, default_value_t = 2)]
    pub depth: usize,
    /// Connections at most; each has its blocks from the start.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Bodies of at least so many bytes are written with O_DIRECT.
    #[arg(long, default_value_t = 1 << 20)]
    pub direct_min: u64,
    /// What must be on the disk before the answer: nothing, the bytes, the bytes and the name.
    #[arg(long, value_enum, default_value_t = Durability::None)]
    pub durability: Durability,
}

/// What is on the disk before the answer.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// Nothing need be.
    None,
    /// The bytes.
    Data,
    /// The bytes and the name.
    Full,
}

impl Options {
    /// The command line, refused with a panic where it can't work.
    pub fn checked() -> Options {
        let options = Options::parse();
        assert!(options.block >= HEAD_BYTES_MAX, "a block holds a head: --block {HEAD_BYTES_MAX} at least");
        assert!((1..=64).contains(&options.depth), "--depth is 1 to 64: one bit a block");
        options
    }
}

/// The first receive of a request: a head, and all of a body of 4 KiB with it.
pub const HEAD_BYTES_MAX: usize = 16 << 10;

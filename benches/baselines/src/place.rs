//! Where a baseline runs: the flags that all of them take, the listening socket, the core.
//!
//! Every server prints `ready PORT` on stdout once it listens, so that `--listen 127.0.0.1:0` works in scripts.
//! Pinning happens before any thread is started, so that threads of a pool inherit it; io-wq workers did too on Linux 6.18.

use std::fs::File;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The flags of every server.
#[derive(clap::Args, Clone, Debug)]
pub struct Place {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Directory that holds the buckets, which are directories that exist.
    #[arg(long)]
    pub root: PathBuf,
    /// CPU that the process is pinned to; without it, wherever the scheduler likes.
    #[arg(long)]
    pub core: Option<usize>,
}

impl Place {
    /// Pins the process, then binds and listens; the caller announces when it can serve.
    pub fn open(&self) -> io::Result<TcpListener> {
        if let Some(core) = self.core {
            pin(core)?;
        }
        TcpListener::bind(self.listen)
    }

    /// Opens the directory of the buckets, for calls relative to it.
    pub fn root_directory(&self) -> io::Result<File> {
        File::open(&self.root)
    }
}

/// Prints `ready PORT`.
pub fn announce(listener: &TcpListener) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "ready {}", listener.local_addr()?.port())?;
    stdout.flush()
}

/// Pins the calling thread, and so every thread that it starts later, to one CPU.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

//! Floor 0 of Ringway: one closed set of operations, two engines that run them, one interface.
//!
//! The ring engine submits operations to io_uring; the threads engine runs the same operations as plain system
//! calls: epoll for sockets, a bounded pool for files. No code above this crate knows which one runs.
//! It knows nothing of HTTP or S3. Read `ring.rs` first, then `slot.rs` and `op/mod.rs`.

pub mod errno;
pub mod time;

pub mod arena;
pub mod aside;
pub mod fault;
pub mod identity;
pub mod lane;

mod blocking;
mod closing;
mod flight;
mod meter;
mod op;
mod ring;
mod shortage;
mod slot;
mod threads;

pub mod engine;

pub mod affinity;
pub mod cores;
pub mod mailbox;
pub mod task;

pub mod file;
pub mod lock;
pub mod net;
pub mod stat;

//! Floor 0 of Ringway: one closed set of operations, two engines that run them, one interface.
//!
//! The ring engine submits operations to io_uring; the threads engine runs the same operations as plain system
//! calls: epoll for sockets, a bounded pool for files. No code above this crate knows which one runs.

//! The identity an operation runs under: the server's own, or a POSIX user the kernel is to check against.
//!
//! On the ring it becomes a personality registered by the ring's own thread; in the pool the thread switches for
//! the length of one call. It knows no S3 user: whoever maps users to POSIX identities stands above.
//! Source: io_uring_register_personality(3), setfsuid(2), capabilities(7).

/// Under whose credentials the kernel checks and accounts an operation.
///
/// Shape: an index into the core's table of identities; zero is the server's own credentials.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Identity(u16);

impl Identity {
    /// The credentials the server was started with.
    pub const SERVER: Identity = Identity(0);

    /// The personality number that goes into a submission queue entry; zero means none.
    pub(crate) fn personality(self) -> u16 {
        self.0
    }
}

//! The identity an operation runs under. There is one so far, the server's own.
//!
//! It stands in the signature of everything that allocates or names something, so that no caller forgets that the kernel
//! checks it. On the ring it is the number of a personality. It knows no S3 user.
//! Source: io_uring_register_personality(3).

/// Under whose credentials the kernel checks and accounts an operation.
///
/// Shape: a personality of the ring; zero is the server's own credentials.
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

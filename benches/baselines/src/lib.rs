//! What the baselines share: command line, listening socket and pinning (`place`) and request heads
//! (`request`).
//!
//! A baseline is a server that does one thing as well as its technique allows and leaves out everything
//! that S3 asks for: no signatures, no digests, no metadata, no error documents, no limits.

pub mod place;
pub mod request;

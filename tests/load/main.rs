//! Loads that have to be looked at from within: a whole server in this process, its blocks poisoned.
//!
//! The other loads, in Python beside this file, drive the real binary. Both have a short form for the test suite and a
//! long one, which `scripts/soak` asks for through RINGWAY_LOAD. Server, requests and connections are those of `tests/s3`.

#[allow(dead_code, reason = "shared with tests/s3, which uses all of it")]
#[path = "../s3/connection.rs"]
mod connection;
#[allow(dead_code, reason = "shared with tests/s3, which uses all of it")]
#[path = "../s3/fixture.rs"]
mod fixture;
#[allow(dead_code, reason = "shared with tests/s3, which uses all of it")]
#[path = "../s3/request.rs"]
mod request;
mod resets;

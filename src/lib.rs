//! Ringway serves a plain directory tree over S3: buckets are directories, objects are files.
//!
//! The folders are floors, lower never names higher: `http`, then `s3` and `digest`, then `auth` and `fs`, then
//! `ops`, then `server` and `bench`, then `cli`. Floor 0 is the crate `uring`. ARCHITECTURE.md is the map.
#![deny(unsafe_code)]

pub mod http;

pub mod digest;
pub mod s3;

pub mod auth;
pub mod fs;

pub mod ops;

pub mod bench;
pub mod server;

pub mod cli;

//! Floor 2: S3 as values: operations and routing, names, ETags, checksums, ranges, preconditions, XML, errors.
//! Pure: no I/O, no clock, no file system.
//! Source: the Amazon S3 API reference.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod aws_chunked;
pub mod base64;
pub mod checksum;
pub mod error;
mod error_http;

pub mod etag;
pub mod headers;
pub mod names;
pub mod operation;
pub mod part_sizes;
pub mod payload;
pub mod precondition;
pub mod query;
pub mod range;
pub mod route;

pub mod xml;

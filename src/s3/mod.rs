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

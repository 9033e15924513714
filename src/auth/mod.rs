//! Floor 3: who is calling: Signature Version 4 in headers, presigned queries and chunks.
//! Decides nothing about permissions and touches no file.
//! Source: AWS Signature Version 4 for S3.
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

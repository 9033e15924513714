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

pub mod authenticate;
pub mod credential;

mod presigned;
mod sigv4;

mod amz_date;
mod canonical;
mod claim;
mod scope;

pub mod chunk;
pub mod payload_mode;
pub mod signing_key;

pub mod sign;

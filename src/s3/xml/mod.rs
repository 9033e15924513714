//! XML of the S3 API: every shape is written once and read once, one file a shape.
//! Handlers build values; markup exists nowhere else. The error document is written in s3/error.rs.
//! Source: Amazon S3 API reference, response and request syntax of each operation.

pub mod reader;
pub mod writer;

pub mod create_bucket;
pub mod list_buckets;
pub mod location;

pub mod delete_objects;
pub mod list_objects;
pub mod multipart;

//! XML of the S3 API: every shape is written once and read once, one file a shape.
//! Handlers build values; markup exists nowhere else.
//! Source: Amazon S3 API reference, response and request syntax of each operation.

pub mod reader;
pub mod writer;

pub mod owner;

pub mod create_bucket;
pub mod list_buckets;
pub mod location;

pub mod delete_objects;
pub mod list_objects;

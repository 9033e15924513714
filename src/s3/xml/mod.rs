//! XML of the S3 API: every shape is written once and read once, one file a shape.
//! Handlers build values; markup exists nowhere else.
//! Source: Amazon S3 API reference, response and request syntax of each operation.

pub mod reader;
pub mod writer;

//! Floor 4: one verb a file, named as the S3 operation; `receive` is the one body pipeline.
//! Operations take an authenticated request and return a response as a value; they write to no socket.
//! Source: the Amazon S3 API reference.

pub mod call;
pub mod response;

pub mod delete_objects;
pub mod list_objects;
pub mod list_objects_v2;

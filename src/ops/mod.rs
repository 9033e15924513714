//! Floor 4: one verb a file, named as the S3 operation; `receive` is the one body pipeline.
//! Operations take an authenticated request and return a response as a value; they write to no socket.
//! Source: the Amazon S3 API reference.

pub mod call;
pub mod response;

pub mod document;
pub mod flow;
pub mod incoming;
pub mod memory;
pub mod pace;
pub mod receive;

pub mod create_bucket;
pub mod delete_bucket;
pub mod get_bucket_location;
pub mod head_bucket;
pub mod list_buckets;

pub mod delete_object;
pub mod delete_objects;
pub mod get_object;
pub mod list_objects;
pub mod list_objects_v2;
pub mod put_object;

pub mod abort_multipart_upload;
pub mod complete_multipart_upload;
pub mod create_multipart_upload;
pub mod list_parts;
pub mod upload_part;

#[cfg(test)]
mod listing_tests;

//! Multipart uploads: parts written in their final place where that is safe, files of their own everywhere else.
//!
//! An upload is a directory of the server's own, named by its id: an immutable record, one record a part, committed by
//! rename, and the files the parts lie in. `claims` is what this server knows beyond the disk: who writes where now.
//! Listing uploads is not here. Source: CreateMultipartUpload and its kin; DESIGN rules as in ARCHITECTURE.md.

pub mod claims;
pub mod record;

pub mod upload;

pub mod parts;

mod assemble;
pub mod complete;

pub mod abort;
pub mod sweep;

#[cfg(test)]
mod tests;

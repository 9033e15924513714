//! Listing: the keys and common prefixes of a bucket in UTF-8 binary order, a page at a time, behind one cursor.
//!
//! A page starts after a key, never at a position in a directory, so pages hold while the tree changes. It reads the
//! directories on its own path and no others; what vanishes meanwhile is left out. Which page is asked for and how it is
//! written is not decided here. Source: ListObjectsV2; getdents64(2); DESIGN rules as written down in ARCHITECTURE.md.

pub mod cursor;
pub mod token;

mod scope;

mod beneath;
mod directory;
mod hidden;
mod names;
mod object;
mod scan;
mod trail;

use crate::s3::etag::ETag;

/// What is listed.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a> {
    /// Only keys that begin with it.
    pub prefix: &'a str,
    /// Keys that hold it behind the prefix are grouped under a common prefix; never empty.
    pub delimiter: Option<&'a str>,
    /// Only keys and common prefixes behind it in the order; empty for all.
    pub after: &'a str,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// When it was last changed. Units: nanoseconds since 1970.
    pub modified_ns: i64,
    /// Its ETag, true or synthetic.
    pub etag: ETag,
    /// Its size.
    pub size_bytes: u64,
}

/// A page, objects and common prefixes each in order.
#[derive(Debug, Default)]
pub struct Page {
    /// The objects.
    pub objects: Vec<Listed>,
    /// The common prefixes.
    pub common_prefixes: Vec<String>,
    /// The key or common prefix that the next page starts after; none on the last page.
    pub next: Option<String>,
}
#[cfg(test)]
mod tests;

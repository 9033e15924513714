//! Floor 3: S3 on POSIX: keys as paths, buckets as directories, the one commit recipe, metadata, listing, multipart.
//! Knows nothing of HTTP or of who is calling beyond an identity for the kernel.
//! Source: DESIGN rules as written down in ARCHITECTURE.md; Linux man pages.

pub mod key;
pub mod metadata;
pub mod path;

pub mod bucket;
mod crossing;
pub mod mount;
pub mod tree;

mod entries;
pub mod failure;
pub mod inflight;
pub mod key_lock;

pub mod collect;
pub mod commit;
pub mod directory_object;
mod flush;
pub mod fresh;
pub mod leftovers;
pub mod overflow;
pub mod parents;
pub mod reader;
pub mod remove;
pub mod writer;

pub mod list;
pub mod together;

pub mod multipart;

#[cfg(test)]
mod overflow_tests;
#[cfg(test)]
mod race_tests;
#[cfg(test)]
mod sweep_tests;

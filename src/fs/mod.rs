//! Floor 3: S3 on POSIX: keys as paths, buckets as directories, the one commit recipe, metadata, listing, multipart.
//! Knows nothing of HTTP or of who is calling beyond an identity for the kernel.
//! Source: DESIGN rules as written down in ARCHITECTURE.md; Linux man pages.

pub mod key;
pub mod metadata;
pub mod path;

//! What an object says besides its bytes, kept in two xattrs of its file, and what a file without them says.
//! `record` is small, binary and always there; `document` is JSON and there when needed, in a `sidecar` when it is too long
//! for the filesystem; `view` puts all against the file as it is now and decides what still holds. Pure: the xattrs are read
//! and written elsewhere.
//! Source: DESIGN rules as written down in ARCHITECTURE.md, "On disk".

pub mod content_type;
pub mod document;
pub mod record;
pub mod sidecar;
pub mod view;

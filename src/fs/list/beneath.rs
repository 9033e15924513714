//! Whether there is an object beneath a directory, which is what makes it a common prefix.
//!
//! An empty POSIX directory is no prefix, and neither is a tree of them. Most directories answer with their first read.
//! It tells nothing else about what is beneath. Source: ListObjectsV2, CommonPrefixes.

use std::collections::BTreeSet;

use uring::errno::Errno;
use uring::file::File;
use uring::identity::Identity;

use super::directory::Directory;
use super::names::{self, Kind};
use super::scan::Scan;
use super::trail::Trail;
use crate::fs::tree::Tree;

/// Directories looked into, or kept to be looked into, for one answer. A tree of more that hold nothing is shown as a
/// prefix that holds nothing: harmless, and a page stays bounded.
const DIRECTORIES_MAX: usize = 10_000;

/// Whether the directory `name` of `parent`, with the key text `key`, is an object or has one beneath; `bucket` is the bucket's
/// inode.
///
/// Errors: the kernel's.
pub(super) async fn has_object(
    tree: &Tree,
    bucket: u64,
    (parent, name): (&File, &str),
    key: &str,
    identity: Identity,
) -> Result<bool, Errno> {
    // The key text is that of the parent, the name, and a slash.
    let mut path: Trail<BTreeSet<Box<str>>> =
        Trail::new(parent.clone(), key.len().saturating_sub(name.len() + 1));
    let mut next = Directory::open(tree, parent, name, key.to_owned(), identity).await?;
    let mut found = 1;
    loop {
        if let Some(directory) = next.take() {
            let Some(children) = look(&directory, bucket).await? else { return Ok(true) };
            found += children.len();
            if found > DIRECTORIES_MAX {
                return Ok(true);
            }
            path.push(directory, children);
        }
        let Some((directory, children)) = path.innermost(tree, identity).await? else { return Ok(false) };
        match children.pop_last() {
            Some(child) => {
                let key = format!("{}{child}/", directory.key);
                next = Directory::open(tree, &directory.file, &child, key, identity).await?;
            }
            None => drop(path.pop()),
        }
    }
}

/// The directories in a directory, or none when it is an object or holds one.
async fn look(directory: &Directory, bucket: u64) -> Result<Option<BTreeSet<Box<str>>>, Errno> {
    if directory.object().await?.is_some() {
        return Ok(None);
    }
    let mut children = BTreeSet::new();
    let fresh = directory.shared.fresh.scanning(bucket, &directory.key);
    let mut scan = Scan::begin(directory).await?;
    loop {
        let entries = scan.next().await?;
        if entries.is_empty() || children.len() > DIRECTORIES_MAX {
            // What this server puts there is an object, whether or not the scan has seen it.
            return Ok(fresh.names().is_empty().then_some(children));
        }
        for entry in &entries {
            match names::listable(directory, entry).await? {
                Some((_, Kind::File)) => return Ok(None),
                Some((name, Kind::Directory)) => drop(children.insert(name.into())),
                None => {}
            }
        }
    }
}

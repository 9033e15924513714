//! Whether there is an object beneath a directory, which is what makes it a common prefix.
//!
//! An empty POSIX directory is no prefix, and neither is a tree of them. Most directories answer with their first read.
//! It tells nothing else about what is beneath. Source: ListObjectsV2, CommonPrefixes.

use uring::errno::Errno;
use uring::file::{self, File};
use uring::identity::Identity;

use super::directory::Directory;
use super::names::{self, Kind};
use crate::fs::tree::Tree;

/// Directories looked into, or kept to be looked into, for one answer. A tree of more that hold nothing is shown as a
/// prefix that holds nothing: harmless, and a page stays bounded.
const DIRECTORIES_MAX: usize = 10_000;

/// A directory whose children are looked into.
struct Level {
    directory: Directory,
    children: Vec<Box<str>>,
}

/// Whether the directory `name` of `parent`, with the key text `key`, is an object or has one beneath.
///
/// Errors: the kernel's.
pub(super) async fn has_object(
    tree: &Tree,
    parent: &File,
    name: &str,
    key: &str,
    identity: Identity,
) -> Result<bool, Errno> {
    let mut path: Vec<Level> = Vec::new();
    let mut next = Directory::open(tree, parent, name, key.to_owned(), identity).await?;
    let mut found = 1;
    loop {
        if let Some(directory) = next.take() {
            let Some(children) = look(&directory).await? else { return Ok(true) };
            found += children.len();
            if found > DIRECTORIES_MAX {
                return Ok(true);
            }
            path.push(Level { directory, children });
        }
        let Some(level) = path.last_mut() else { return Ok(false) };
        match level.children.pop() {
            Some(child) => {
                let key = format!("{}{child}/", level.directory.key);
                next = Directory::open(tree, &level.directory.file, &child, key, identity).await?;
            }
            None => {
                path.pop();
            }
        }
    }
}

/// The directories in a directory, or none when it is an object or holds one.
async fn look(directory: &Directory) -> Result<Option<Vec<Box<str>>>, Errno> {
    if directory.object().await?.is_some() {
        return Ok(None);
    }
    let mut children = Vec::new();
    loop {
        let entries = file::read_directory(&directory.file).await?;
        if entries.is_empty() || children.len() > DIRECTORIES_MAX {
            return Ok(Some(children));
        }
        for entry in &entries {
            match names::listable(directory, entry).await? {
                Some((_, Kind::File)) => return Ok(None),
                Some((name, Kind::Directory)) => children.push(name.into()),
                None => {}
            }
        }
    }
}

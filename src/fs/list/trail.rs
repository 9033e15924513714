//! The directories on the way down to where a listing is, of which only the innermost are open.
//!
//! A tree may be as deep as a key is long, and a listing that kept each level open would take hundreds of descriptors
//! from others. One that was closed is opened again by its path when the listing comes back to it; what has vanished or
//! was replaced meanwhile is left out, as everywhere in a listing. It reads no names. Source: openat2(2).

use uring::errno::Errno;
use uring::file::File;
use uring::identity::Identity;

use super::directory::Directory;
use crate::fs::tree::Tree;

/// Levels that are open at once: few trees are deeper, so most listings open each directory once.
pub(super) const OPEN_MAX: usize = 8;

/// A way down, each directory with what is still to be done in it.
pub(super) struct Trail<T> {
    base: File,
    // How many bytes of every key text belong to the base.
    base_bytes: usize,
    levels: Vec<(Place, T)>,
}

enum Place {
    Open(Directory),
    /// By its key text.
    Closed(String),
}

impl<T> Trail<T> {
    /// A way that begins below `base`, whose key text is `base_bytes` long.
    pub(super) fn new(base: File, base_bytes: usize) -> Trail<T> {
        Trail { base, base_bytes, levels: Vec::new() }
    }

    /// Goes down into a directory.
    pub(super) fn push(&mut self, directory: Directory, rest: T) {
        self.levels.push((Place::Open(directory), rest));
        let outer = self.levels.len().checked_sub(OPEN_MAX + 1).and_then(|index| self.levels.get_mut(index));
        if let Some((place, _)) = outer
            && let Place::Open(directory) = place
        {
            *place = Place::Closed(std::mem::take(&mut directory.key));
        }
    }

    /// Goes back up; the directory, when it is open.
    pub(super) fn pop(&mut self) -> Option<(Directory, T)> {
        match self.levels.pop()? {
            (Place::Open(directory), rest) => Some((directory, rest)),
            (Place::Closed(_), _) => None,
        }
    }

    /// The innermost directory that is there, open; none at the end of the way.
    ///
    /// Errors: the kernel's.
    pub(super) async fn innermost(
        &mut self,
        tree: &Tree,
        identity: Identity,
    ) -> Result<Option<(&Directory, &mut T)>, Errno> {
        while let Some((Place::Closed(key), _)) = self.levels.last() {
            let path = key.get(self.base_bytes..).unwrap_or_default().trim_end_matches('/');
            let path = if path.is_empty() { "." } else { path };
            let opened = Directory::open(tree, &self.base, path, key.clone(), identity).await?;
            match (opened, self.levels.last_mut()) {
                (Some(directory), Some((place, _))) => *place = Place::Open(directory),
                (_, _) => drop(self.levels.pop()),
            }
        }
        match self.levels.last_mut() {
            Some((Place::Open(directory), rest)) => Ok(Some((directory, rest))),
            Some((Place::Closed(_), _)) | None => Ok(None),
        }
    }
}

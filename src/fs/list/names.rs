//! The names of one directory that a listing wants, in the order of their keys, a bounded window at a time.
//!
//! A directory is read whole, because its order is the filesystem's; of what is wanted only the first names are kept, so
//! memory does not grow with the directory. When they are used up it is read again from there. That no name is missed
//! while the directory changes is the scan's business. Source: getdents64(2).

use std::collections::BTreeSet;

use uring::errno::Errno;
use uring::file::Entry;
use uring::stat::FileKind;

use super::directory::Directory;
use super::hidden::{self, Reason};
use super::scan::Scan;
use crate::fs::fresh::Scanning;
use crate::fs::key;
use crate::fs::path::RESERVED_PREFIX;
use crate::s3::names::ObjectKey;

/// Names kept of one directory: more than a page of 1,000 and the one that tells that another follows, so a directory of
/// files is read once a page.
pub(super) const WINDOW: usize = 1_024;
const _: () = assert!(WINDOW > 1_000 + 1);

/// Names in order; a directory's ends in `/`, which is where its keys sort.
#[derive(Default)]
pub(super) struct Names {
    window: BTreeSet<Box<str>>,
    has_more: bool,
    // The last name of the window when there were more; the next window begins behind it.
    more_behind: Option<Box<str>>,
}

impl Names {
    /// Takes the first name.
    pub(super) fn pop(&mut self) -> Option<Box<str>> {
        self.window.pop_first()
    }

    /// Where the next window begins, if the directory had more names than this one.
    pub(super) fn more_behind(&self) -> Option<&str> {
        self.more_behind.as_deref()
    }

    /// Whether a name sorts behind a full window, with or without the slash of a directory.
    fn is_behind(&self, name: &[u8]) -> bool {
        self.window.len() == WINDOW && self.window.last().is_some_and(|last| name > last.as_bytes())
    }

    fn keep(&mut self, name: &str) {
        self.window.insert(name.into());
        if self.window.len() > WINDOW {
            self.window.pop_last();
            self.has_more = true;
        }
    }

    fn finish(mut self) -> Names {
        self.more_behind = self.window.last().filter(|_| self.has_more).cloned();
        self
    }
}

/// Reads the names behind `from` whose key text is wanted; `bucket` is the bucket's inode.
///
/// Errors: the kernel's.
pub(super) async fn read(
    directory: &Directory,
    bucket: u64,
    from: &str,
    wants: impl Fn(&str) -> bool,
) -> Result<Names, Errno> {
    let mut names = Names::default();
    // One buffer for the key texts of the whole scan.
    let mut text = directory.key.clone();
    // Before the first look: what this server replaces from here on may be missing in the scan.
    let fresh = directory.shared.fresh.scanning(bucket, &directory.key);
    let mut scan = Scan::begin(directory).await?;
    loop {
        let entries = scan.next().await?;
        if entries.is_empty() {
            add_fresh(directory, from, wants, &fresh, &mut names);
            return Ok(names.finish());
        }
        for entry in &entries {
            // Most names of a large directory end here, so this comes before they are looked at any closer. One that
            // would not have been wanted costs at most a needless window.
            if names.is_behind(&entry.name) {
                names.has_more = true;
                continue;
            }
            let Some((name, kind)) = listable(directory, entry).await? else { continue };
            text.truncate(directory.key.len());
            text.push_str(name);
            match kind {
                Kind::File => {}
                Kind::Directory => text.push('/'),
            }
            let name = &text[directory.key.len()..];
            if name > from && wants(&text) {
                names.keep(name);
            }
        }
    }
}

/// Adds the names that this server has put into the directory during its scan.
fn add_fresh(
    directory: &Directory,
    from: &str,
    wants: impl Fn(&str) -> bool,
    fresh: &Scanning,
    names: &mut Names,
) {
    for name in fresh.names() {
        if names.is_behind(&name) {
            names.has_more = true;
        } else if let Some(name) = key::component(&name)
            && name > from
            && wants(&[&directory.key, name].concat())
        {
            names.keep(name);
        }
    }
}

/// What a listed name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

/// The name and kind of an entry that may be listed.
pub(super) async fn listable<'e>(
    directory: &Directory,
    entry: &'e Entry,
) -> Result<Option<(&'e str, Kind)>, Errno> {
    if matches!(entry.kind, FileKind::Symlink | FileKind::Special)
        || entry.name.starts_with(RESERVED_PREFIX.as_bytes())
    {
        return Ok(None);
    }
    let Some(name) = key::component(&entry.name) else {
        hidden::note(&directory.shared, Reason::NoKey, &directory.key, &entry.name);
        return Ok(None);
    };
    let kind = match entry.kind {
        FileKind::Unknown => directory.kind_of(name).await?,
        known => known,
    };
    let (kind, slash) = match kind {
        FileKind::Regular => (Kind::File, 0),
        FileKind::Directory => (Kind::Directory, 1),
        FileKind::Symlink | FileKind::Special | FileKind::Unknown => return Ok(None),
    };
    if directory.key.len() + name.len() + slash > ObjectKey::BYTES_MAX {
        hidden::note(&directory.shared, Reason::NoKey, &directory.key, &entry.name);
        return Ok(None);
    }
    Ok(Some((name, kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_keeps_the_first_names_whatever_their_order() {
        let mut names = Names::default();
        let count = WINDOW * 2;
        // 7919 is a prime that does not divide the count, so every number comes once.
        for number in (0..count).map(|n| n * 7919 % count) {
            let name = format!("{number:05}");
            if !names.is_behind(name.as_bytes()) {
                names.keep(&name);
            }
        }
        let mut names = names.finish();
        assert_eq!(names.more_behind(), Some(format!("{:05}", WINDOW - 1).as_str()));
        for number in 0..WINDOW {
            assert_eq!(names.pop().as_deref(), Some(format!("{number:05}").as_str()));
        }
        assert_eq!(names.pop(), None);
    }
}

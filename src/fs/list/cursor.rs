//! The cursor: walks the tree in the order of keys from a start, and hands out pages.
//!
//! A stack of directories, no recursion; its depth is bounded by the length of a key. What the walk finds is a name;
//! what a page shows is read from the open file, many at once, and a name that has no object behind it any more is left
//! out. An index can stand in the walk's place without a change above. Source: ListObjectsV2.

use uring::errno::Errno;
use uring::file::{self, File};
use uring::identity::Identity;

use super::directory::{Directory, c_string, has_vanished};
use super::names::{self, Names};
use super::scope::Step;
use super::trail::Trail;
use super::{Listed, Listing, Page, beneath, object};
use crate::fs::bucket::Bucket;
use crate::fs::failure::{Doing, s3_error};
use crate::fs::together::together;
use crate::fs::tree::{Tree, own_directory_opening};
use crate::s3::error::S3Error;

/// A listing under way.
pub struct Cursor<'a> {
    tree: &'a Tree,
    bucket_inode: u64,
    identity: Identity,
    listing: Listing<'a>,
    // The directories on the path to the next key, outermost first.
    path: Trail<Names>,
    // The common prefix that was shown last, or empty.
    group: String,
    // The directory of the prefix as an object, before all that is in it.
    first: Option<Listed>,
}

/// What the walk finds.
enum Found {
    /// A name that was a file's.
    File { directory: File, name: Box<str>, key: String },
    /// An object whose attributes are known.
    Object(Listed),
    /// A common prefix.
    CommonPrefix(String),
}

/// Files opened at once for one page: enough to keep a disk busy, few enough to leave descriptors for others.
const OPEN_MAX: usize = 16;

impl<'a> Cursor<'a> {
    /// Begins a listing.
    ///
    /// Errors: AccessDenied when the directory of the prefix may not be read.
    pub async fn open(
        tree: &'a Tree,
        bucket: &Bucket,
        listing: Listing<'a>,
        identity: Identity,
    ) -> Result<Cursor<'a>, S3Error> {
        let path = Trail::new(bucket.directory.clone(), 0);
        let group = String::new();
        let bucket_inode = bucket.stat.inode;
        let mut cursor = Cursor { tree, bucket_inode, identity, listing, path, group, first: None };
        let Some(start) = listing.start() else { return Ok(cursor) };
        let path = if start.is_empty() { "." } else { start.trim_end_matches('/') };
        let opened = file::open(&bucket.directory, c_string(path), own_directory_opening(), identity).await;
        let file = match opened {
            Ok(file) => file,
            Err(errno) if has_vanished(errno) || errno == Errno::NAMETOOLONG => return Ok(cursor),
            Err(errno) => return Err(failed(errno)),
        };
        let directory = match Directory::of(tree, file, start.to_owned(), identity) {
            Err(errno) if has_vanished(errno) => return Ok(cursor),
            directory => directory.map_err(failed)?,
        };
        cursor.first = cursor.enter(directory).await?;
        Ok(cursor)
    }

    /// The next entries, at most `entries_max` keys and common prefixes together.
    ///
    /// Shape: none at all, and no next page, for an `entries_max` of zero.
    /// Errors: those of reading the tree.
    pub async fn page(mut self, entries_max: usize) -> Result<Page, S3Error> {
        let mut page = Page::default();
        let mut count = 0;
        let mut last = None;
        if entries_max == 0 {
            return Ok(page);
        }
        loop {
            // One more than fits, to know whether another page follows.
            let found = self.walk((entries_max + 1 - count).min(OPEN_MAX)).await?;
            if found.is_empty() {
                return Ok(page);
            }
            let shown = together(found.into_iter().map(|found| show(self.tree, found, self.identity))).await;
            for entry in shown {
                let Some(entry) = entry.map_err(failed)? else { continue };
                if count == entries_max {
                    page.next = last;
                    return Ok(page);
                }
                count += 1;
                last = (count == entries_max).then(|| entry.text().to_owned());
                match entry {
                    Entry::Object(object) => page.objects.push(object),
                    Entry::CommonPrefix(prefix) => page.common_prefixes.push(prefix),
                }
            }
        }
    }

    /// Up to `count_max` of what comes next.
    async fn walk(&mut self, count_max: usize) -> Result<Vec<Found>, S3Error> {
        let mut found = Vec::with_capacity(count_max);
        while found.len() < count_max {
            match self.next().await? {
                Some(next) => found.push(next),
                None => break,
            }
        }
        Ok(found)
    }

    async fn next(&mut self) -> Result<Option<Found>, S3Error> {
        if let Some(first) = self.first.take() {
            return Ok(Some(Found::Object(first)));
        }
        loop {
            let innermost = self.path.innermost(self.tree, self.identity).await.map_err(failed)?;
            let Some((directory, names)) = innermost else { return Ok(None) };
            let Some(name) = names.pop() else {
                self.refill_or_leave().await?;
                continue;
            };
            let text = [&directory.key, &*name].concat();
            let directory = directory.file.clone();
            match self.listing.step(&text, &self.group) {
                Step::Skip => {}
                Step::Show => return Ok(Some(Found::File { directory, name, key: text })),
                Step::Group(prefix) => {
                    if !name.ends_with('/') || self.is_any_beneath(&directory, &name, &text).await? {
                        prefix.clone_into(&mut self.group);
                        return Ok(Some(Found::CommonPrefix(self.group.clone())));
                    }
                }
                Step::Descend => {
                    let own_name = name.trim_end_matches('/');
                    let opened = Directory::open(self.tree, &directory, own_name, text, self.identity).await;
                    let Some(opened) = opened.map_err(failed)? else { continue };
                    if let Some(object) = self.enter(opened).await? {
                        return Ok(Some(Found::Object(object)));
                    }
                }
            }
        }
    }

    /// Puts a directory on top of the path; returns it as an object if it is one to show.
    async fn enter(&mut self, directory: Directory) -> Result<Option<Listed>, S3Error> {
        let object = if self.listing.shows_directory(&directory.key) {
            directory.object().await.map_err(failed)?
        } else {
            None
        };
        let names = self.read_names(&directory, "").await?;
        self.path.push(directory, names);
        Ok(object)
    }

    /// Reads the names behind the window that was used up, or goes back to the directory above.
    async fn refill_or_leave(&mut self) -> Result<(), S3Error> {
        let Some((directory, names)) = self.path.pop() else { return Ok(()) };
        if let Some(from) = names.more_behind() {
            let names = self.read_names(&directory, from).await?;
            self.path.push(directory, names);
        }
        Ok(())
    }

    async fn read_names(&self, directory: &Directory, from: &str) -> Result<Names, S3Error> {
        let wants = |text: &str| self.listing.step(text, &self.group) != Step::Skip;
        names::read(directory, self.bucket_inode, from, wants).await.map_err(failed)
    }

    async fn is_any_beneath(&self, parent: &File, name: &str, key: &str) -> Result<bool, S3Error> {
        let own_name = name.trim_end_matches('/');
        beneath::has_object(self.tree, self.bucket_inode, (parent, own_name), key, self.identity)
            .await
            .map_err(failed)
    }
}

/// One entry of a page.
enum Entry {
    Object(Listed),
    CommonPrefix(String),
}

impl Entry {
    fn text(&self) -> &str {
        match self {
            Entry::Object(object) => &object.key,
            Entry::CommonPrefix(prefix) => prefix,
        }
    }
}

/// Reads what a page shows of what the walk found.
async fn show(tree: &Tree, found: Found, identity: Identity) -> Result<Option<Entry>, Errno> {
    match found {
        Found::File { directory, name, key } => {
            let listed = object::look(tree, &directory, &name, key, identity).await?;
            Ok(listed.map(Entry::Object))
        }
        Found::Object(object) => Ok(Some(Entry::Object(object))),
        Found::CommonPrefix(prefix) => Ok(Some(Entry::CommonPrefix(prefix))),
    }
}

fn failed(errno: Errno) -> S3Error {
    s3_error(Doing::Read, errno)
}

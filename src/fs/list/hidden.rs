//! Names in the tree that no listing can show: those that are no keys, and directories nobody may look into.
//!
//! They are counted each time one is met and named once in the log, so that whoever misses a file finds out why.
//! Reserved names, links and special files are not among them: they are meant to be unseen.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};

/// Why a name is not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It is no key: no UTF-8, a character that XML cannot carry, or too long.
    NoKey,
    /// A directory that the caller may not read.
    Unreadable,
}

/// Names that are remembered as logged; after that many, new ones are only counted.
const NAMED_MAX: usize = 10_000;

static MET: AtomicU64 = AtomicU64::new(0);
static NAMED: LazyLock<(RandomState, Mutex<HashSet<u64>>)> = LazyLock::new(Default::default);

/// How often a name was met that could not be listed, since the start.
pub fn met() -> u64 {
    MET.load(Ordering::Relaxed)
}

/// Counts a name below the directory with the key text `directory`, and logs it the first time.
pub(super) fn note(reason: Reason, directory: &str, name: &[u8]) {
    MET.fetch_add(1, Ordering::Relaxed);
    let (hasher, named) = &*NAMED;
    let hash = hasher.hash_one((directory, name));
    let mut named = named.lock().expect("no holder of the lock panics");
    if named.len() < NAMED_MAX && named.insert(hash) {
        drop(named);
        tracing::warn!(?reason, directory, name = %name.escape_ascii(), "a name is not listed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_each_time() {
        let before = met();
        note(Reason::NoKey, "a/", b"\xff");
        note(Reason::NoKey, "a/", b"\xff");
        // Other tests count too.
        assert!(met() >= before + 2);
    }
}

//! Names in the tree that no listing can show: those that are no keys, and directories nobody may look into.
//!
//! They are counted each time one is met and named once in the log, so that whoever misses a file finds out why. The
//! count is the tree's; what was named is the process's, because the log is.
//! Reserved names, links and special files are not among them: they are meant to be unseen.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{LazyLock, Mutex};

use crate::fs::tree::Shared;

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

static NAMED: LazyLock<(RandomState, Mutex<HashSet<u64>>)> = LazyLock::new(Default::default);

/// Counts a name below the directory with the key text `directory`, and logs it the first time.
pub(super) fn note(shared: &Shared, reason: Reason, directory: &str, name: &[u8]) {
    shared.hide_names(1);
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
    use crate::fs::inflight::Instance;

    #[test]
    fn names_are_counted_each_time() {
        let shared = Shared::new(Instance::new());
        note(&shared, Reason::NoKey, "a/", b"\xff");
        note(&shared, Reason::NoKey, "a/", b"\xff");
        note(&shared, Reason::Unreadable, "a/", b"b");
        assert_eq!(shared.names_hidden(), 3);
    }
}

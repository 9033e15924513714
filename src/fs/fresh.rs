//! Names that this server is replacing while somebody reads their directory.
//!
//! A filesystem may leave a name out of a scan that it is replaced under. So a scan says which directory it reads and a
//! rename which name it puts there; whichever comes first is found by the other, and the scan knows of every name that it
//! may have missed through this server. Whether an object is there is for whoever lists to look. What other servers and
//! POSIX users replace is not seen here. Source: rename(2), getdents64(2).

use std::collections::{BTreeSet, HashMap};
use std::ffi::CStr;
use std::sync::{Arc, Mutex, MutexGuard};

/// Names kept for one scan; more than that are replaced in one only by thousands of clients, and then the scan has what it
/// saw.
const NAMES_MAX: usize = 16_384;

/// A directory: its bucket's inode and its path below the bucket, without a slash at its end.
type Place = (u64, Box<[u8]>);

/// A name in it.
type Name = Box<[u8]>;

/// The scans and renames that are under way.
#[derive(Default)]
pub struct Fresh(Mutex<State>);

#[derive(Default)]
struct State {
    next: u64,
    scans: HashMap<u64, (Place, BTreeSet<Name>)>,
    renames: HashMap<u64, (Place, Name)>,
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Fresh {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of the lock panics")
    }

    /// Says that `name` is about to be put into a directory; it may be replaced until the value is dropped.
    pub(super) fn replacing(self: &Arc<Self>, bucket: u64, directory: &CStr, name: &CStr) -> Replacing {
        let (place, name): (Place, Name) = ((bucket, directory.to_bytes().into()), name.to_bytes().into());
        let mut state = self.state();
        for (scanned, names) in state.scans.values_mut() {
            if *scanned == place && names.len() < NAMES_MAX {
                names.insert(name.clone());
            }
        }
        let number = state.number();
        state.renames.insert(number, (place, name));
        Replacing { fresh: self.clone(), number }
    }

    /// Says that a directory is read from now on; `key` is its key text.
    pub(super) fn scanning(self: &Arc<Self>, bucket: u64, key: &str) -> Scanning {
        let place: Place = (bucket, key.trim_end_matches('/').as_bytes().into());
        let mut state = self.state();
        let under_way = state.renames.values().filter(|(renamed, _)| *renamed == place);
        let names = under_way.map(|(_, name)| name.clone()).collect();
        let number = state.number();
        state.scans.insert(number, (place, names));
        Scanning { fresh: self.clone(), number }
    }
}

/// A rename under way.
#[must_use]
pub(super) struct Replacing {
    fresh: Arc<Fresh>,
    number: u64,
}

impl Drop for Replacing {
    fn drop(&mut self) {
        self.fresh.state().renames.remove(&self.number);
    }
}

/// A scan under way.
pub(super) struct Scanning {
    fresh: Arc<Fresh>,
    number: u64,
}

impl Scanning {
    /// The names that were put into the directory since the scan began.
    pub(super) fn names(&self) -> BTreeSet<Box<[u8]>> {
        self.fresh.state().scans.get(&self.number).map(|(_, names)| names.clone()).unwrap_or_default()
    }
}

impl Drop for Scanning {
    fn drop(&mut self) {
        self.fresh.state().scans.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_and_a_rename_find_each_other_whichever_comes_first() {
        let fresh = Arc::new(Fresh::default());
        let under_way = fresh.replacing(1, c"a/b", c"first");
        drop(fresh.replacing(1, c"a/b", c"over"));
        let scan = fresh.scanning(1, "a/b/");
        drop(under_way);
        drop(fresh.replacing(1, c"a/b", c"later"));
        for (bucket, directory) in [(2, c"a/b"), (1, c"a"), (1, c"")] {
            drop(fresh.replacing(bucket, directory, c"elsewhere"));
        }
        let names: Vec<Name> = scan.names().into_iter().collect();
        assert_eq!(names, [Box::from(&b"first"[..]), Box::from(&b"later"[..])]);
        assert!(fresh.scanning(1, "a/b/").names().is_empty(), "it begins after all of them");
        drop(scan);
        assert!(fresh.state().scans.is_empty() && fresh.state().renames.is_empty());
    }
}

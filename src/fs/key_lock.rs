//! The lock of a key: shared by plain commits, exclusive for conditional ones, over check and rename.
//!
//! It holds among the cores of one server and waits asynchronously. Keys of two buckets never wait for each other, so a
//! filesystem that hangs holds up its own buckets alone; keys of one bucket meet when their hashes do. Waiters are served
//! in order. Towards other servers and POSIX writers it promises nothing.
//! Source: DESIGN rules as written down in ARCHITECTURE.md, "S3 on POSIX".

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use uring::stat::Stat;

/// Tables that the locks of one server are spread over; each is held for the length of a look.
const TABLES: usize = 64;

/// How a commit holds its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Together with other plain commits.
    Shared,
    /// Alone: a condition is checked and the result acted on.
    Exclusive,
}

/// The locks of all keys of one server.
pub struct KeyLocks {
    // INVARIANT: a lock is there as long as somebody holds it, waits for it, or was granted it and has not looked.
    tables: Box<[Mutex<HashMap<LockName, Lock>>]>,
}

/// Whose lock it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct LockName {
    bucket: BucketPlace,
    key_hash: u64,
}

/// Where a bucket's directory is: buckets that are mounts of their own often have the same inode number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct BucketPlace {
    device: (u32, u32),
    inode: u64,
}

#[derive(Default)]
struct Lock {
    // INVARIANT: shared holders and an exclusive one never exist together.
    shared: usize,
    is_exclusive: bool,
    next_ticket: u64,
    waiting: VecDeque<Waiting>,
    // Tickets that were served and not yet seen by their futures; they hold the lock already.
    granted: Vec<u64>,
}

struct Waiting {
    ticket: u64,
    hold: Hold,
    waker: Waker,
}

impl Default for KeyLocks {
    fn default() -> KeyLocks {
        KeyLocks { tables: (0..TABLES).map(|_| Mutex::default()).collect() }
    }
}

impl KeyLocks {
    /// Waits for the lock of a key in a bucket; `bucket` is what its directory was when it was opened.
    pub fn lock(self: &Arc<Self>, bucket: &Stat, key: &[u8], hold: Hold) -> Locking {
        self.lock_in(BucketPlace { device: bucket.device, inode: bucket.inode }, key, hold)
    }

    fn lock_in(self: &Arc<Self>, bucket: BucketPlace, key: &[u8], hold: Hold) -> Locking {
        let key_hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        Locking { locks: self.clone(), name: LockName { bucket, key_hash }, hold, ticket: None }
    }

    fn table(&self, name: LockName) -> MutexGuard<'_, HashMap<LockName, Lock>> {
        let table = &self.tables[name.key_hash as usize % TABLES];
        table.lock().expect("no holder of a table panics")
    }

    /// Changes a lock that somebody has, and forgets it when nobody has it any more.
    fn change(&self, name: LockName, change: impl FnOnce(&mut Lock)) {
        let mut table = self.table(name);
        let lock = table.get_mut(&name).expect("a lock that somebody has is there");
        change(lock);
        if lock.is_idle() {
            table.remove(&name);
        }
    }
}

impl Lock {
    fn is_idle(&self) -> bool {
        self.shared == 0 && !self.is_exclusive && self.waiting.is_empty()
    }

    fn may_take(&self, hold: Hold) -> bool {
        match hold {
            Hold::Shared => !self.is_exclusive,
            Hold::Exclusive => !self.is_exclusive && self.shared == 0,
        }
    }

    fn take(&mut self, hold: Hold) {
        match hold {
            Hold::Shared => self.shared += 1,
            Hold::Exclusive => self.is_exclusive = true,
        }
    }

    fn release(&mut self, hold: Hold) {
        match hold {
            Hold::Shared => self.shared -= 1,
            Hold::Exclusive => self.is_exclusive = false,
        }
        self.serve();
    }

    /// Grants the lock to those in front who can have it together.
    fn serve(&mut self) {
        while let Some(first) = self.waiting.front() {
            if !self.may_take(first.hold) {
                return;
            }
            let first = self.waiting.pop_front().expect("there is a front");
            self.take(first.hold);
            self.granted.push(first.ticket);
            first.waker.wake();
        }
    }
}

/// The future of [`KeyLocks::lock`].
pub struct Locking {
    locks: Arc<KeyLocks>,
    name: LockName,
    hold: Hold,
    ticket: Option<u64>,
}

impl Future for Locking {
    type Output = Locked;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Locked> {
        let (locks, name, hold) = (self.locks.clone(), self.name, self.hold);
        let mut table = locks.table(name);
        let lock = table.entry(name).or_default();
        match self.ticket {
            None if lock.waiting.is_empty() && lock.may_take(hold) => lock.take(hold),
            None => {
                let ticket = lock.next_ticket;
                lock.next_ticket += 1;
                lock.waiting.push_back(Waiting { ticket, hold, waker: context.waker().clone() });
                self.ticket = Some(ticket);
                return Poll::Pending;
            }
            Some(ticket) => match lock.granted.iter().position(|granted| *granted == ticket) {
                Some(place) => {
                    lock.granted.swap_remove(place);
                    self.ticket = None;
                }
                None => {
                    if let Some(waiting) = lock.waiting.iter_mut().find(|waiting| waiting.ticket == ticket) {
                        waiting.waker.clone_from(context.waker());
                    }
                    return Poll::Pending;
                }
            },
        }
        drop(table);
        Poll::Ready(Locked { locks, name, hold })
    }
}

impl Drop for Locking {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let hold = self.hold;
        self.locks.change(self.name, |lock| {
            match lock.granted.iter().position(|granted| *granted == ticket) {
                Some(place) => {
                    lock.granted.swap_remove(place);
                    lock.release(hold);
                }
                None => {
                    lock.waiting.retain(|waiting| waiting.ticket != ticket);
                    // Those behind may have waited only for this one.
                    lock.serve();
                }
            }
        });
    }
}

/// A held lock; dropping it lets others in.
pub struct Locked {
    locks: Arc<KeyLocks>,
    name: LockName,
    hold: Hold,
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.locks.change(self.name, |lock| lock.release(self.hold));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: BucketPlace = BucketPlace { device: (8, 1), inode: 2 };
    /// The top of another filesystem.
    const OTHER: BucketPlace = BucketPlace { device: (8, 2), inode: 2 };

    fn poll(locking: &mut Locking) -> Option<Locked> {
        match Pin::new(locking).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(locked) => Some(locked),
            Poll::Pending => None,
        }
    }

    #[test]
    fn shared_holders_meet_and_an_exclusive_one_is_alone() {
        let locks = Arc::new(KeyLocks::default());
        let lock = |hold| locks.lock_in(ONE, b"key", hold);
        let first = poll(&mut lock(Hold::Shared)).expect("the lock is free");
        let second = poll(&mut lock(Hold::Shared)).expect("shared holders meet");
        let mut exclusive = lock(Hold::Exclusive);
        assert!(poll(&mut exclusive).is_none(), "two hold it");
        let mut late = lock(Hold::Shared);
        assert!(poll(&mut late).is_none(), "nobody overtakes a waiter");
        drop(first);
        assert!(poll(&mut exclusive).is_none(), "one still holds it");
        drop(second);
        let alone = poll(&mut exclusive).expect("all are gone");
        assert!(poll(&mut late).is_none(), "the exclusive one is alone");
        drop(alone);
        assert!(poll(&mut late).is_some());
    }

    #[test]
    fn a_waiter_that_gives_up_holds_nobody_back() {
        let locks = Arc::new(KeyLocks::default());
        let lock = |hold| locks.lock_in(ONE, b"key", hold);
        let holder = poll(&mut lock(Hold::Shared)).expect("the lock is free");
        let mut exclusive = lock(Hold::Exclusive);
        assert!(poll(&mut exclusive).is_none());
        let mut late = lock(Hold::Shared);
        assert!(poll(&mut late).is_none());
        drop(exclusive);
        let late = poll(&mut late).expect("the one in front has given up");
        drop((holder, late));
        // One that was granted the lock and dropped before it looked must let the next in.
        let holder = poll(&mut lock(Hold::Exclusive)).expect("the lock is free");
        let mut granted = lock(Hold::Exclusive);
        assert!(poll(&mut granted).is_none());
        drop(holder);
        drop(granted);
        assert!(poll(&mut lock(Hold::Exclusive)).is_some());
    }

    #[test]
    fn no_bucket_waits_for_another() {
        let locks = Arc::new(KeyLocks::default());
        // The commits of a filesystem that hangs: as many keys as there are tables, and many more.
        let keys: Vec<String> = (0..10_000).map(|number| format!("key {number}")).collect();
        let exclusive =
            |bucket, key: &String| poll(&mut locks.lock_in(bucket, key.as_bytes(), Hold::Exclusive));
        let held: Vec<_> = keys.iter().map(|key| exclusive(ONE, key).expect("nobody has it")).collect();
        assert!(keys.iter().all(|key| exclusive(OTHER, key).is_some()));
        assert!(keys.iter().all(|key| exclusive(ONE, key).is_none()));
        drop(held);
        assert!(
            locks.tables.iter().all(|table| table.lock().unwrap().is_empty()),
            "what nobody has is forgotten"
        );
    }
}

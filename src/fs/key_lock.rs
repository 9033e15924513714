//! The lock of a key: shared by plain commits, exclusive for conditional ones, over check and rename.
//!
//! It holds among the cores of one server and waits asynchronously; keys share a fixed number of shards, so two keys may
//! meet in one. Waiters are served in order. Towards other servers and POSIX writers it promises nothing.
//! Source: DESIGN rules as written down in ARCHITECTURE.md, "S3 on POSIX".

use std::collections::VecDeque;
use std::future::Future;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// Shards of one server; with 64 cores at work two commits meet in one by chance once in sixteen.
const SHARDS: usize = 1024;

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
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Default)]
struct Shard {
    // INVARIANT: shared holders and an exclusive one never exist together.
    shared: usize,
    is_exclusive: bool,
    next_ticket: u64,
    waiting: VecDeque<Waiting>,
    // Tickets that were served and not yet seen by their futures.
    granted: Vec<u64>,
}

struct Waiting {
    ticket: u64,
    hold: Hold,
    waker: Waker,
}

impl Default for KeyLocks {
    fn default() -> KeyLocks {
        KeyLocks { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl KeyLocks {
    /// Waits for the lock of a key in a bucket.
    pub fn lock(self: &Arc<Self>, bucket: u64, key: &[u8], hold: Hold) -> Locking {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let shard = hasher.hash_one((bucket, key)) as usize % SHARDS;
        Locking { locks: self.clone(), shard, hold, ticket: None }
    }

    fn shard(&self, index: usize) -> MutexGuard<'_, Shard> {
        self.shards[index].lock().expect("no holder of a shard panics")
    }
}

impl Shard {
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
    shard: usize,
    hold: Hold,
    ticket: Option<u64>,
}

impl Future for Locking {
    type Output = Locked;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Locked> {
        let (locks, hold) = (self.locks.clone(), self.hold);
        let mut shard = locks.shard(self.shard);
        match self.ticket {
            None if shard.waiting.is_empty() && shard.may_take(hold) => shard.take(hold),
            None => {
                let ticket = shard.next_ticket;
                shard.next_ticket += 1;
                shard.waiting.push_back(Waiting { ticket, hold, waker: context.waker().clone() });
                self.ticket = Some(ticket);
                return Poll::Pending;
            }
            Some(ticket) => match shard.granted.iter().position(|granted| *granted == ticket) {
                Some(place) => {
                    shard.granted.swap_remove(place);
                    self.ticket = None;
                }
                None => {
                    if let Some(waiting) = shard.waiting.iter_mut().find(|waiting| waiting.ticket == ticket) {
                        waiting.waker.clone_from(context.waker());
                    }
                    return Poll::Pending;
                }
            },
        }
        drop(shard);
        Poll::Ready(Locked { locks, shard: self.shard, hold })
    }
}

impl Drop for Locking {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut shard = self.locks.shard(self.shard);
        match shard.granted.iter().position(|granted| *granted == ticket) {
            Some(place) => {
                shard.granted.swap_remove(place);
                shard.release(self.hold);
            }
            None => {
                shard.waiting.retain(|waiting| waiting.ticket != ticket);
                // Those behind may have waited only for this one.
                shard.serve();
            }
        }
    }
}

/// A held lock; dropping it lets others in.
pub struct Locked {
    locks: Arc<KeyLocks>,
    shard: usize,
    hold: Hold,
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.locks.shard(self.shard).release(self.hold);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(locking: &mut Locking) -> Option<Locked> {
        match Pin::new(locking).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(locked) => Some(locked),
            Poll::Pending => None,
        }
    }

    #[test]
    fn shared_holders_meet_and_an_exclusive_one_is_alone() {
        let locks = Arc::new(KeyLocks::default());
        let lock = |hold| locks.lock(1, b"key", hold);
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
        let lock = |hold| locks.lock(1, b"key", hold);
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
}

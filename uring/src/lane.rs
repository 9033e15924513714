//! Lanes: how many operations of one mount may be with the kernel at once, so that one that hangs leaves threads to others.
//!
//! An operation on a filesystem that does not answer holds a thread of the kernel or of the pool until it does. Each
//! mount has a lane of its own, and a lane never takes all threads; what does not fit waits here, in order.
//! Mounts are not told apart beyond `LANES`. It runs and completes nothing by itself.
//! Source: io_uring_register(2), IORING_REGISTER_IOWQ_MAX_WORKERS; fsfreeze(8).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use crate::slot::Token;

/// Where a filesystem's answers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// From this machine's memory and devices: what the kernel has at hand it gives at once.
    Local,
    /// From a server or a daemon, which may not answer for ever: no operation may run on a core.
    Remote,
}

/// The lane of a file's mount; files opened below a directory are in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    number: u8,
    reach: Reach,
}

/// Lane 0 is for files whose mount nobody has named.
const LANES: usize = 64;

impl Lane {
    /// For files whose mount nobody has named; they are taken for local ones.
    pub(crate) const UNNAMED: Lane = Lane { number: 0, reach: Reach::Local };

    /// The lane of a mount. Two mounts may share one, which costs nothing until one of them hangs.
    pub fn of_mount(id: u64, reach: Reach) -> Lane {
        Lane { number: (id % (LANES as u64 - 1)) as u8 + 1, reach }
    }

    /// Where its mount's answers come from, as far as is known.
    pub fn reach(self) -> Reach {
        self.reach
    }
}

/// Whose threads an operation may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workers {
    /// The kernel's own, of one ring.
    Ring,
    /// Those of the pool, which all cores share.
    Pool,
}

/// What an operation does to its filesystem. One that is frozen, or full, keeps those who change it waiting and can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// It only looks.
    Read,
    /// It changes something, or may.
    Change,
}

const ACTS: [Act; 2] = [Act::Read, Act::Change];

/// Where an operation counts while it is with the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its mount's lane.
    pub(crate) lane: Lane,
    /// What it may hold there.
    pub(crate) workers: Workers,
    /// What it does there.
    pub(crate) act: Act,
}

impl Place {
    fn index(self) -> usize {
        usize::from(self.lane.number) * 2 + self.workers as usize
    }
}

/// How many operations of one lane may be with the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    // Of readers, and of those who change something.
    each: usize,
    // INVARIANT: less than all threads, and more than `each` where there are enough of them.
    together: usize,
}

// Each by `Act`.
#[derive(Default)]
struct Queue {
    running: [usize; 2],
    waiting: [VecDeque<Token>; 2],
}

impl Queue {
    fn has_room(&self, act: Act, limit: Limit) -> bool {
        self.running[act as usize] < limit.each && self.running.iter().sum::<usize>() < limit.together
    }
}

/// The lanes of one core.
pub(crate) struct Lanes {
    queues: RefCell<Vec<Queue>>,
    // Per kind of workers, in the order of `Workers`.
    limits: [Limit; 2],
    waiting: Cell<usize>,
}

impl Lanes {
    /// Lanes that take at most seven eighths of the threads, and three quarters for one act; the pool's are shared out among
    /// the cores.
    pub(crate) fn new(ring_workers: usize, pool_threads: usize, cores: usize) -> Lanes {
        let limit = |threads: usize, cores: usize| {
            let share = |eighths: usize| ((threads * eighths / 8).max(1) / cores.max(1)).max(1);
            Limit { each: share(6), together: share(7) }
        };
        let limits = [limit(ring_workers, 1), limit(pool_threads, cores)];
        let queues = (0..LANES * 2).map(|_| Queue::default()).collect();
        Lanes { queues: RefCell::new(queues), limits, waiting: Cell::new(0) }
    }

    /// Whether an operation may go to the kernel now; one that may not waits until `leave` or `let_go` returns it.
    pub(crate) fn enter(&self, place: Place, token: Token) -> Entry {
        let queue = &mut self.queues.borrow_mut()[place.index()];
        if queue.has_room(place.act, self.limits[place.workers as usize]) {
            queue.running[place.act as usize] += 1;
            return Entry::Granted;
        }
        queue.waiting[place.act as usize].push_back(token);
        self.waiting.set(self.waiting.get() + 1);
        Entry::Waits
    }

    /// Ends an operation that was granted its place; the next one in the lane takes it, which may be one of the other act.
    pub(crate) fn leave(&self, place: Place) -> Option<(Token, Place)> {
        let queue = &mut self.queues.borrow_mut()[place.index()];
        queue.running[place.act as usize] -= 1;
        let limit = self.limits[place.workers as usize];
        let other = ACTS[1 - place.act as usize];
        for act in [place.act, other] {
            if !queue.has_room(act, limit) {
                continue;
            }
            if let Some(next) = queue.waiting[act as usize].pop_front() {
                queue.running[act as usize] += 1;
                self.waiting.set(self.waiting.get() - 1);
                return Some((next, Place { act, ..place }));
            }
        }
        None
    }

    /// Takes an operation that waits out of its lane; false when it does not wait here.
    pub(crate) fn let_go(&self, token: Token) -> bool {
        if self.waiting.get() == 0 {
            return false;
        }
        for waiting in self.queues.borrow_mut().iter_mut().flat_map(|queue| &mut queue.waiting) {
            if let Some(at) = waiting.iter().position(|other| *other == token) {
                waiting.remove(at);
                self.waiting.set(self.waiting.get() - 1);
                return true;
            }
        }
        false
    }
}

/// The answer to an operation that wants to go to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It goes.
    Granted,
    /// It waits.
    Waits,
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Place = place(1, Act::Change);
    const HUNG: Place = place(2, Act::Change);
    const READ: Place = place(2, Act::Read);

    const fn place(number: u8, act: Act) -> Place {
        Place { lane: Lane { number, reach: Reach::Local }, workers: Workers::Ring, act }
    }

    fn token(index: u32) -> Token {
        Token { index, generation: 1 }
    }

    fn enter_all(lanes: &Lanes, place: Place, tokens: std::ops::Range<u32>) -> Vec<Entry> {
        tokens.map(|index| lanes.enter(place, token(index))).collect()
    }

    #[test]
    fn a_lane_that_is_full_leaves_the_others_alone() {
        let lanes = Lanes::new(4, 8, 2);
        assert_eq!(enter_all(&lanes, HUNG, 0..6), [[Entry::Granted; 3], [Entry::Waits; 3]].concat());
        assert_eq!(lanes.enter(CALM, token(9)), Entry::Granted);
        assert_eq!(lanes.leave(CALM), None);
        assert!(lanes.let_go(token(4)));
        assert!(!lanes.let_go(token(4)));
        assert!(!lanes.let_go(token(0)), "what has been granted is with the kernel");
        let next = (0..5).map(|_| lanes.leave(HUNG)).collect::<Vec<_>>();
        assert_eq!(next, [Some((token(3), HUNG)), Some((token(5), HUNG)), None, None, None]);
        assert_eq!(lanes.enter(HUNG, token(7)), Entry::Granted);
    }

    #[test]
    fn who_cannot_change_a_filesystem_leaves_readers_their_threads() {
        let lanes = Lanes::new(32, 8, 2);
        let granted = enter_all(&lanes, HUNG, 0..30);
        assert_eq!(granted.iter().filter(|entry| **entry == Entry::Granted).count(), 24);
        assert_eq!(enter_all(&lanes, READ, 30..35), [&[Entry::Granted; 4][..], &[Entry::Waits]].concat());
        // The first who waits for the act that has ended, then the other.
        assert_eq!(lanes.leave(HUNG), Some((token(24), HUNG)));
        assert_eq!(lanes.leave(READ), Some((token(34), READ)));
        assert_eq!(lanes.leave(READ), None, "those who change have all they may");
        assert!((25..30).all(|index| lanes.let_go(token(index))));
        assert_eq!(enter_all(&lanes, READ, 40..42), [Entry::Granted, Entry::Waits]);
        assert_eq!(lanes.leave(HUNG), Some((token(41), READ)));
    }

    #[test]
    fn every_core_gets_a_thread_and_no_lane_gets_all() {
        for (threads, cores, each, together) in [(8, 2, 3, 3), (32, 2, 12, 14), (8, 64, 1, 1), (1, 1, 1, 1)] {
            let want = Limit { each, together };
            assert_eq!(Lanes::new(32, threads, cores).limits[1], want, "{threads} threads, {cores} cores");
        }
        assert_eq!(Lanes::new(32, 8, 1).limits[0], Limit { each: 24, together: 28 });
    }
}

//! Lanes: how many operations of one mount may be with the kernel at once, so that one that hangs leaves threads to others.
//!
//! An operation on a filesystem that does not answer holds a thread of the kernel or of the pool until it does. Each
//! mount has a lane of its own, and a lane never takes all threads; what does not fit waits here, in order.
//! Mounts are not told apart beyond `LANES`. It runs and completes nothing by itself.
//! Source: io_uring_register(2), IORING_REGISTER_IOWQ_MAX_WORKERS; fsfreeze(8).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use crate::slot::Token;

/// The lane of a file's mount; files opened below a directory are in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Lane(u8);

/// Lane 0 is for files whose mount nobody has named.
const LANES: usize = 64;

impl Lane {
    /// The lane of a mount. Two mounts may share one, which costs nothing until one of them hangs.
    pub(crate) fn of_mount(id: u64) -> Lane {
        Lane((id % (LANES as u64 - 1)) as u8 + 1)
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

/// Where an operation counts while it is with the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its mount's lane.
    pub(crate) lane: Lane,
    /// What it may hold there.
    pub(crate) workers: Workers,
}

impl Place {
    fn index(self) -> usize {
        usize::from(self.lane.0) * 2 + self.workers as usize
    }
}

#[derive(Default)]
struct Queue {
    running: usize,
    waiting: VecDeque<Token>,
}

/// The lanes of one core.
pub(crate) struct Lanes {
    queues: RefCell<Vec<Queue>>,
    // Per kind of workers, in the order of `Workers`.
    limits: [usize; 2],
    waiting: Cell<usize>,
}

impl Lanes {
    /// Lanes that take at most three quarters of the threads; the pool's are shared out among the cores.
    pub(crate) fn new(ring_workers: usize, pool_threads: usize, cores: usize) -> Lanes {
        let most = |threads: usize| (threads * 3 / 4).max(1);
        let limits = [most(ring_workers), (most(pool_threads) / cores.max(1)).max(1)];
        let queues = (0..LANES * 2).map(|_| Queue::default()).collect();
        Lanes { queues: RefCell::new(queues), limits, waiting: Cell::new(0) }
    }

    /// Whether an operation may go to the kernel now; one that may not waits until `leave` or `let_go` returns it.
    pub(crate) fn enter(&self, place: Place, token: Token) -> Entry {
        let queue = &mut self.queues.borrow_mut()[place.index()];
        if queue.running < self.limits[place.workers as usize] {
            queue.running += 1;
            return Entry::Granted;
        }
        queue.waiting.push_back(token);
        self.waiting.set(self.waiting.get() + 1);
        Entry::Waits
    }

    /// Ends an operation that was granted its place; the next one in the lane takes it.
    pub(crate) fn leave(&self, place: Place) -> Option<Token> {
        let queue = &mut self.queues.borrow_mut()[place.index()];
        let next = queue.waiting.pop_front();
        match next {
            Some(_) => self.waiting.set(self.waiting.get() - 1),
            None => queue.running -= 1,
        }
        next
    }

    /// Takes an operation that waits out of its lane; false when it does not wait here.
    pub(crate) fn let_go(&self, token: Token) -> bool {
        if self.waiting.get() == 0 {
            return false;
        }
        for queue in self.queues.borrow_mut().iter_mut() {
            if let Some(at) = queue.waiting.iter().position(|other| *other == token) {
                queue.waiting.remove(at);
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

    const CALM: Place = Place { lane: Lane(1), workers: Workers::Ring };
    const HUNG: Place = Place { lane: Lane(2), workers: Workers::Ring };

    fn token(index: u32) -> Token {
        Token { index, generation: 1 }
    }

    #[test]
    fn a_lane_that_is_full_leaves_the_others_alone() {
        let lanes = Lanes::new(4, 8, 2);
        let granted = (0..6).map(|index| lanes.enter(HUNG, token(index))).collect::<Vec<_>>();
        assert_eq!(granted, [[Entry::Granted; 3], [Entry::Waits; 3]].concat());
        assert_eq!(lanes.enter(CALM, token(9)), Entry::Granted);
        assert_eq!(lanes.leave(CALM), None);
        assert!(lanes.let_go(token(4)));
        assert!(!lanes.let_go(token(4)));
        assert!(!lanes.let_go(token(0)), "what has been granted is with the kernel");
        let next = (0..5).map(|_| lanes.leave(HUNG)).collect::<Vec<_>>();
        assert_eq!(next, [Some(token(3)), Some(token(5)), None, None, None]);
        assert_eq!(lanes.enter(HUNG, token(7)), Entry::Granted);
    }

    #[test]
    fn every_core_gets_a_thread_and_no_lane_gets_all() {
        for (threads, cores, want) in [(8, 2, 3), (32, 2, 12), (8, 64, 1), (1, 1, 1)] {
            assert_eq!(Lanes::new(32, threads, cores).limits, [24, want], "{threads} threads, {cores} cores");
        }
    }
}

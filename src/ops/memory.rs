//! The memory of one core for documents: bodies that are read whole, pages of listings and the answers they become.
//!
//! What a request holds it has a share for, counted as it grows by what has really arrived. Beyond the budget requests
//! wait, first come, first served; one at a time may go beyond it, so that those who hold a part and wait for the rest
//! never stop each other. Who waits for too long, or finds too many waiting, is told to slow down; who holds a part and is
//! waited for by others, because its client is slow, loses it. It allocates nothing.
//! Source: DESIGN rules as written down in ARCHITECTURE.md, "Limits".

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use uring::time;

use crate::s3::error::{Code, S3Error};

/// Requests that wait at once: each has a connection and a part of a document, and a longer queue would only be waited
/// in for nothing.
const WAITING_MAX: usize = 256;
/// How long one request waits in all, however often: less than clients wait for a first byte.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How long in all a share may wait for its client while others wait for memory: so much less that they get it.
const HELD_MAX: Duration = Duration::from_secs(5);
/// A wait for a client that holds a share is looked after so often.
pub const GLANCE: Duration = Duration::from_secs(1);

/// The budget of one core.
pub struct Memory {
    budget_bytes: u64,
    used_bytes: Cell<u64>,
    // The share that may go beyond the budget.
    ahead: Cell<Option<u64>>,
    waiting: RefCell<VecDeque<Rc<Waiting>>>,
    next_number: Cell<u64>,
}

/// What one request holds; dropping it gives it back.
pub struct Share {
    memory: Rc<Memory>,
    number: u64,
    bytes: u64,
    // What is left of the time it may wait.
    patience: Duration,
    // How long it has waited for its client.
    held: Duration,
}

struct Waiting {
    number: u64,
    bytes: u64,
    state: Cell<State>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    Granted,
    // Nobody waits any more.
    Over,
}

impl Memory {
    /// A budget of which nothing is used.
    pub fn new(budget_bytes: u64) -> Rc<Memory> {
        Rc::new(Memory {
            budget_bytes,
            used_bytes: Cell::new(0),
            ahead: Cell::new(None),
            waiting: RefCell::default(),
            next_number: Cell::new(0),
        })
    }

    /// An empty share.
    pub fn share(self: &Rc<Memory>) -> Share {
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        Share { memory: self.clone(), number, bytes: 0, patience: WAIT_MAX, held: Duration::ZERO }
    }

    /// Counts bytes for a share if it may have them now.
    fn grant(&self, number: u64, bytes: u64) -> bool {
        let used_bytes = self.used_bytes.get().saturating_add(bytes);
        let is_granted = used_bytes <= self.budget_bytes || self.ahead.get().is_none_or(|one| one == number);
        if is_granted {
            if used_bytes > self.budget_bytes {
                self.ahead.set(Some(number));
            }
            self.used_bytes.set(used_bytes);
        }
        is_granted
    }

    fn give_back(&self, bytes: u64) {
        self.used_bytes.set(self.used_bytes.get().saturating_sub(bytes));
        self.serve();
    }

    /// Grants what those who wait wait for, in their order, as far as it reaches.
    fn serve(&self) {
        while let Some(first) = self.grant_first() {
            let waker = first.waker.take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn grant_first(&self) -> Option<Rc<Waiting>> {
        let mut waiting = self.waiting.borrow_mut();
        while waiting.front().is_some_and(|first| first.state.get() == State::Over) {
            waiting.pop_front();
        }
        let first = waiting.front()?;
        if !self.grant(first.number, first.bytes) {
            return None;
        }
        let first = waiting.pop_front()?;
        first.state.set(State::Granted);
        Some(first)
    }
}

impl Share {
    /// Waits until the share may hold so many bytes more.
    ///
    /// Errors: SlowDown.
    pub async fn grow(&mut self, bytes: u64) -> Result<(), S3Error> {
        let memory = &self.memory;
        let is_first = memory.ahead.get() == Some(self.number) || memory.waiting.borrow().is_empty();
        if !is_first || !memory.grant(self.number, bytes) {
            if memory.waiting.borrow().len() >= WAITING_MAX {
                return Err(S3Error::new(Code::SlowDown));
            }
            let deadline = time::now().after(self.patience);
            let granted = time::before(deadline, memory.wait(self.number, bytes)).await;
            self.patience = deadline.since(time::now());
            granted.ok_or_else(|| S3Error::new(Code::SlowDown))?;
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Counts a wait of the client, during which the share was held; true when it may be held no longer.
    pub fn has_held_too_long(&mut self, waited: Duration) -> bool {
        self.held = self.held.saturating_add(waited);
        self.held >= HELD_MAX && self.bytes > 0 && !self.memory.waiting.borrow().is_empty()
    }

    /// Ends when the share may be held no longer for a client that takes its answer.
    pub async fn held_too_long(&mut self) {
        loop {
            time::sleep(GLANCE).await;
            if self.has_held_too_long(GLANCE) {
                return;
            }
        }
    }

    /// Says what is really held, which is there already.
    pub fn settle(&mut self, bytes: u64) {
        let memory = &self.memory;
        memory.used_bytes.set(memory.used_bytes.get().saturating_add(bytes));
        memory.give_back(std::mem::replace(&mut self.bytes, bytes));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.memory.ahead.get() == Some(self.number) {
            self.memory.ahead.set(None);
        }
        self.memory.give_back(self.bytes);
    }
}

impl Memory {
    fn wait(self: &Rc<Memory>, number: u64, bytes: u64) -> Wait {
        let (state, waker) = (Cell::new(State::Waits), RefCell::default());
        let waiting = Rc::new(Waiting { number, bytes, state, waker });
        self.waiting.borrow_mut().push_back(waiting.clone());
        Wait { memory: self.clone(), waiting }
    }
}

/// A place in the queue.
struct Wait {
    memory: Rc<Memory>,
    waiting: Rc<Waiting>,
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.waiting.state.get() == State::Granted {
            self.waiting.state.set(State::Over);
            return Poll::Ready(());
        }
        *self.waiting.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        match self.waiting.state.replace(State::Over) {
            State::Over => {}
            // Those behind may have what this one waited for.
            State::Waits => {
                self.memory.waiting.borrow_mut().retain(|other| !Rc::ptr_eq(other, &self.waiting));
                self.memory.serve();
            }
            State::Granted => self.memory.give_back(self.waiting.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(wait: &mut Pin<Box<Wait>>) -> bool {
        wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// A share that holds so much at once.
    fn holding(memory: &Rc<Memory>, bytes: u64) -> Share {
        let mut share = memory.share();
        assert!(memory.grant(share.number, bytes), "{bytes} bytes are there");
        share.bytes = bytes;
        share
    }

    #[test]
    fn one_at_a_time_goes_beyond_the_budget() {
        let memory = Memory::new(100);
        let (first, second) = (holding(&memory, 60), holding(&memory, 40));
        assert!(memory.grant(first.number, 5), "the first to need more");
        assert!(!memory.grant(second.number, 5), "the second waits");
        assert!(memory.grant(first.number, 5), "the first goes on");
        let mut first = first;
        first.bytes += 10;
        let mut wait = Box::pin(memory.wait(second.number, 5));
        assert!(!poll(&mut wait));
        drop(first);
        assert!(poll(&mut wait), "what the first held is there for the second");
        assert_eq!(memory.used_bytes.get(), 45);
    }

    #[test]
    fn a_share_is_held_for_a_slow_client_until_others_wait() {
        let memory = Memory::new(100);
        let (mut share, mut empty) = (holding(&memory, 100), memory.share());
        assert!(!share.has_held_too_long(HELD_MAX), "nobody waits");
        let _ahead = holding(&memory, 1);
        let wait = memory.wait(7, 50);
        assert!(share.has_held_too_long(Duration::ZERO));
        assert!(!empty.has_held_too_long(HELD_MAX), "it holds nothing that anybody waits for");
        let mut young = memory.share();
        young.bytes = 1;
        assert!(!young.has_held_too_long(HELD_MAX - Duration::from_nanos(1)));
        drop(wait);
        assert!(!share.has_held_too_long(Duration::ZERO), "nobody waits any more");
        young.bytes = 0;
    }

    #[test]
    fn those_who_wait_are_served_in_their_order() {
        let memory = Memory::new(100);
        let (all, ahead) = (holding(&memory, 100), holding(&memory, 1));
        let wait = |number, bytes| Box::pin(memory.wait(number, bytes));
        let (mut first, mut second, third) = (wait(7, 90), wait(8, 5), wait(9, 5));
        drop(ahead);
        assert!(poll(&mut first), "the first goes ahead, however much it wants");
        assert!(!poll(&mut second), "the second does not, however little");
        drop(third);
        drop(all);
        assert!(poll(&mut second));
        assert_eq!(memory.used_bytes.get(), 95);
        memory.give_back(5);
        assert_eq!(memory.used_bytes.get(), 90);
        assert!(memory.waiting.borrow().is_empty());
    }

    #[test]
    fn what_is_granted_and_not_taken_goes_back() {
        let memory = Memory::new(100);
        let (all, ahead) = (holding(&memory, 100), holding(&memory, 1));
        let wait = memory.wait(7, 50);
        drop(all);
        assert_eq!(memory.used_bytes.get(), 51);
        drop(wait);
        drop(ahead);
        assert_eq!(memory.used_bytes.get(), 0);
    }

    #[test]
    fn a_share_is_settled_by_what_is_there() {
        let memory = Memory::new(100);
        let mut share = holding(&memory, 100);
        let ahead = holding(&memory, 1);
        let mut wait = Box::pin(memory.wait(7, 50));
        assert!(!poll(&mut wait));
        share.settle(30);
        assert!(poll(&mut wait));
        drop(ahead);
        drop(share);
        assert_eq!(memory.used_bytes.get(), 50);
    }
}

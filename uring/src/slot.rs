//! The slot table: where operations live between submission and completion.
//!
//! A slot has a stable address, so the kernel may be given addresses inside its operation. `user_data` is the slot's
//! index and its generation: a completion for an earlier tenant is recognised and ignored. An orphan is a slot whose
//! future was dropped; it keeps its operation until the completion and then disposes of it.
//! It runs nothing and wakes nobody by itself.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::task::Waker;

use crate::identity::Identity;
use crate::lane::Place;
use crate::op::Op;

/// A slot's index and generation, as it travels through the kernel.
///
/// Shape: index in the low 32 bits, generation in the high 31; the top bit is left to the engines' own entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl Token {
    pub(crate) fn user_data(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(crate) fn of(user_data: u64) -> Token {
        Token { index: user_data as u32, generation: (user_data >> 32) as u32 }
    }
}

/// Where a slot stands.
enum State {
    Free,
    /// An engine has it.
    Submitted(Option<Waker>),
    /// An engine has it and nobody waits.
    Orphaned,
    /// The result is there and has not been taken.
    Completed(i32),
}

struct Slot {
    state: State,
    generation: u32,
    identity: Identity,
    // Where the operation counts as long as an engine has it.
    place: Option<Place>,
}

/// Slots are added in chunks so that no operation ever moves.
const CHUNK: usize = 256;
/// More operations than this at once on one core means that a bound above this crate is missing.
const SLOTS_MAX: usize = 1 << 20;
const GENERATION_MASK: u32 = 0x7FFF_FFFF;

type OpCell = UnsafeCell<Option<Op>>;

/// The slots of one core.
#[derive(Default)]
pub(crate) struct Slots {
    slots: RefCell<Vec<Slot>>,
    // INVARIANT: as long as a slot is Submitted or Orphaned, an engine may use its operation from elsewhere, so the
    // core reads and writes only `slots`; the operations stand apart so that no reference to a slot covers them.
    ops: RefCell<Vec<Box<[OpCell]>>>,
    free: RefCell<Vec<u32>>,
    // Slots that are Submitted or Orphaned.
    pending: Cell<usize>,
}

/// What taking a completion in means for the caller.
pub(crate) enum Completion {
    /// Wake this, if somebody has already waited.
    Wake(Option<Waker>),
    /// Nobody waits: this operation and its result are to be disposed of.
    Dispose(Op),
    /// A completion for a tenant that is gone.
    Stale,
}

impl Slots {
    /// Puts an operation into a free slot.
    pub(crate) fn insert(&self, op: Op, identity: Identity) -> Token {
        if self.free.borrow().is_empty() {
            self.grow();
        }
        let index = self.free.borrow_mut().pop().expect("the table has just grown");
        // SAFETY: the slot is free, so no engine has its operation.
        unsafe { *self.address(index) = Some(op) };
        let slot = &mut self.slots.borrow_mut()[index as usize];
        slot.state = State::Submitted(None);
        slot.identity = identity;
        slot.place = None;
        self.pending.set(self.pending.get() + 1);
        Token { index, generation: slot.generation }
    }

    fn grow(&self) {
        let mut slots = self.slots.borrow_mut();
        let first = slots.len();
        assert!(first < SLOTS_MAX, "more than {SLOTS_MAX} operations at once on one core");
        slots.extend((0..CHUNK).map(|_| Slot {
            state: State::Free,
            generation: 1,
            identity: Identity::SERVER,
            place: None,
        }));
        self.ops.borrow_mut().push((0..CHUNK).map(|_| UnsafeCell::new(None)).collect());
        self.free.borrow_mut().extend((first as u32..(first + CHUNK) as u32).rev());
    }

    /// The address of a slot's operation; it stays the same for the life of the table.
    pub(crate) fn address(&self, index: u32) -> *mut Option<Op> {
        self.ops.borrow()[index as usize / CHUNK][index as usize % CHUNK].get()
    }

    fn take_op(&self, index: u32) -> Op {
        // SAFETY: called only when the completion is in, so no engine has the operation.
        let op = unsafe { (*self.address(index)).take() };
        self.free.borrow_mut().push(index);
        op.expect("a slot in use keeps its operation until it is taken")
    }

    /// Runs `act` on the operation of a slot that neither the kernel nor a thread of the pool has: before it is handed on,
    /// or between two attempts of the engine of plain calls.
    pub(crate) fn with_op<T>(&self, token: Token, act: impl FnOnce(&mut Op, Identity) -> T) -> T {
        let identity = self.slots.borrow()[token.index as usize].identity;
        // SAFETY: nobody but the core has the operation, by the contract above.
        let op = unsafe { (*self.address(token.index)).as_mut() };
        act(op.expect("a submitted slot has an operation"), identity)
    }

    /// Whether the token's operation has not been completed yet.
    pub(crate) fn is_pending(&self, token: Token) -> bool {
        let slots = self.slots.borrow();
        let slot = &slots[token.index as usize];
        slot.generation == token.generation && matches!(slot.state, State::Submitted(_) | State::Orphaned)
    }

    /// Notes where an operation counts that goes to its engine.
    pub(crate) fn grant(&self, token: Token, place: Place) {
        self.slots.borrow_mut()[token.index as usize].place = Some(place);
    }

    /// Takes back the place of an operation that has come to its end.
    pub(crate) fn take_place(&self, token: Token) -> Option<Place> {
        let slot = &mut self.slots.borrow_mut()[token.index as usize];
        if slot.generation == token.generation { slot.place.take() } else { None }
    }

    /// Takes the result in.
    pub(crate) fn complete(&self, token: Token, result: i32) -> Completion {
        {
            let mut slots = self.slots.borrow_mut();
            let slot = &mut slots[token.index as usize];
            if slot.generation != token.generation {
                return Completion::Stale;
            }
            self.pending.set(self.pending.get() - 1);
            match std::mem::replace(&mut slot.state, State::Completed(result)) {
                State::Submitted(waker) => return Completion::Wake(waker),
                State::Orphaned => slot.release(),
                State::Free => unreachable!("a free slot has a newer generation than any token in flight"),
                State::Completed(_) => unreachable!("an operation completes once"),
            }
        }
        Completion::Dispose(self.take_op(token.index))
    }

    /// Takes result and operation out of a completed slot, or leaves `waker` to be woken.
    pub(crate) fn take(&self, token: Token, waker: &Waker) -> Option<(i32, Op)> {
        let result = {
            let mut slots = self.slots.borrow_mut();
            let slot = &mut slots[token.index as usize];
            assert!(slot.generation == token.generation, "a future outlives its slot");
            match &mut slot.state {
                State::Completed(result) => {
                    let result = *result;
                    slot.release();
                    result
                }
                State::Submitted(Some(known)) => {
                    known.clone_from(waker);
                    return None;
                }
                State::Submitted(unknown) => {
                    *unknown = Some(waker.clone());
                    return None;
                }
                State::Free | State::Orphaned => unreachable!("a future that was dropped is not polled"),
            }
        };
        Some((result, self.take_op(token.index)))
    }

    /// Gives the slot up: a completed one is returned for disposal, a submitted one becomes an orphan.
    pub(crate) fn orphan(&self, token: Token) -> Option<(i32, Op)> {
        let result = {
            let mut slots = self.slots.borrow_mut();
            let slot = &mut slots[token.index as usize];
            assert!(slot.generation == token.generation, "a future outlives its slot");
            match std::mem::replace(&mut slot.state, State::Orphaned) {
                State::Completed(result) => {
                    slot.release();
                    result
                }
                State::Submitted(_) => return None,
                State::Free | State::Orphaned => unreachable!("a future is dropped once"),
            }
        };
        Some((result, self.take_op(token.index)))
    }

    /// How many operations have not come to their end; a future that outlives its core may hold others.
    pub(crate) fn pending(&self) -> usize {
        self.pending.get()
    }

    /// How many slots an engine or a future still holds.
    pub(crate) fn in_use(&self) -> usize {
        self.slots.borrow().len() - self.free.borrow().len()
    }
}

impl Slot {
    fn release(&mut self) {
        self.state = State::Free;
        self.generation = (self.generation + 1) & GENERATION_MASK;
    }
}

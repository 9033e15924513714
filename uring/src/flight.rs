//! The future of an operation.
//!
//! The operation is submitted when the flight is made, not when it is first polled, so that a caller may start a
//! write and go on receiving. Dropping a flight orphans its slot and asks the engine to cancel; the operation and
//! all it owns stay where they are until the completion.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::cores::{self, Core};
use crate::fault::Fault;
use crate::identity::Identity;
use crate::lane::Entry;
use crate::op::Op;
use crate::slot::{Completion, Token};
use crate::task;
use crate::time;

/// An operation under way.
///
/// Shape of the output: the result as a completion gives it, and the operation with all it owns.
pub(crate) struct Flight {
    // `None` once the result was taken or the slot given up.
    token: Option<Token>,
    // The core's number: whoever keeps a flight beyond its core must not touch the slots of the thread's next one.
    serial: u16,
    // A token is a number of this core's table, so a flight must not move to a thread that has another.
    of_core: PhantomData<*const ()>,
}

impl Flight {
    /// Submits an operation to the current core's engine.
    pub(crate) fn new(op: Op, identity: Identity) -> Flight {
        cores::with(|core| {
            let kind = op.kind();
            let fault = core.faults.next(kind);
            let token = core.slots.insert(op, identity);
            match fault {
                None => submit(core, token),
                Some(Fault::Fail(errno)) => complete(core, token, -errno.0),
                Some(Fault::Shorten(bytes)) => {
                    core.slots.with_op(token, |op, _| op.shorten(bytes));
                    submit(core, token);
                }
                Some(Fault::Delay(duration)) => {
                    core.faults.hold(token);
                    let (held, deadline) = (Held(token), time::now().after(duration));
                    task::spawn(async move {
                        time::sleep_until(deadline).await;
                        held.submit();
                    });
                }
                Some(Fault::Kill) => unreachable!("the plan has ended the process"),
                Some(Fault::Skip) => {
                    complete(core, token, kind.left_out().map_or_else(|error| -error.0, |()| 0));
                }
            }
            Flight { token: Some(token), serial: core.registered.serial, of_core: PhantomData }
        })
    }

    /// Lets the operation run to its end without waiting for it and without cancelling it.
    pub(crate) fn detach(mut self) {
        let Some(token) = self.token.take() else { return };
        cores::with(|core| {
            if let Some((result, op)) = core.slots.orphan(token) {
                op.dispose(result);
            }
        });
    }

    /// Asks the engine to end the operation early; the result still has to be awaited.
    ///
    /// The operation may succeed all the same, or have moved part of its bytes.
    pub(crate) fn cancel(&self) {
        if let Some(token) = self.token {
            self.at_home(|core| cancel(core, token));
        }
    }

    /// Runs `act` with the flight's own core; not when that has ended.
    fn at_home<T>(&self, act: impl FnOnce(&Core) -> T) -> Option<T> {
        cores::try_with(|core| (core.registered.serial == self.serial).then(|| act(core))).flatten()
    }
}

impl Future for Flight {
    type Output = (i32, Op);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<(i32, Op)> {
        let token = self.token.expect("a flight is not polled after its end");
        let taken = self.at_home(|core| core.slots.take(token, context.waker()));
        match taken.expect("a flight is polled on its own core") {
            Some(end) => {
                self.token = None;
                Poll::Ready(end)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Some(token) = self.token else { return };
        // The disposal runs outside of `orphan`: it may drop blocks and close files.
        let ended = self.at_home(|core| {
            let ended = core.slots.orphan(token);
            if ended.is_none() {
                cancel(core, token);
            }
            ended
        });
        if let Some(Some((result, op))) = ended {
            op.dispose(result);
        }
    }
}

/// An operation that a planned delay keeps from the engine.
struct Held(Token);

impl Held {
    /// Hands the operation on, unless it was cancelled meanwhile.
    fn submit(self) {
        cores::with(|core| {
            if core.faults.let_go(self.0) {
                submit(core, self.0);
            }
        });
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Still held: the core ends before the delay, and must not wait for an operation that no engine has.
        cores::try_with(|core| {
            if core.faults.let_go(self.0) {
                complete(core, self.0, -libc::ECANCELED);
            }
        });
    }
}

/// Hands an operation to the engine, or lets it wait until its mount has a thread for it.
fn submit(core: &Core, token: Token) {
    if let Some(place) = core.slots.with_op(token, |op, _| core.engine.place(op)) {
        if core.lanes.enter(place, token) == Entry::Waits {
            return;
        }
        core.slots.grant(token, place);
    }
    core.engine.submit(core, token);
}

/// Gives the place of an operation that has ended to the next one of its lane.
fn leave(core: &Core, token: Token) {
    let Some(place) = core.slots.take_place(token) else { return };
    if let Some((next, place)) = core.lanes.leave(place) {
        core.slots.grant(next, place);
        core.engine.submit(core, next);
    }
}

/// Cancels an operation where it is: with the engine, in its lane, or held back by a planned delay.
fn cancel(core: &Core, token: Token) {
    if core.faults.let_go(token) || core.lanes.let_go(token) {
        complete(core, token, -libc::ECANCELED);
    } else {
        core.engine.cancel(core, token);
    }
}

/// Takes a completion in: wakes who waits, or disposes of an orphan.
pub(crate) fn complete(core: &Core, token: Token, result: i32) {
    leave(core, token);
    match core.slots.complete(token, result) {
        Completion::Wake(Some(waker)) => waker.wake(),
        Completion::Wake(None) | Completion::Stale => {}
        Completion::Dispose(op) => op.dispose(result),
    }
}

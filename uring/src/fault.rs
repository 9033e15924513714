//! Planned faults for tests: the Nth operation of a kind fails, is cut short, waits, is left out, or ends the process.
//!
//! Either engine consults the plan of its core when an operation is submitted, plain calls included. An empty plan
//! costs one branch. The plan also asks the arena to poison blocks that come back, so that a late write is seen.
//! It injects nothing by itself and is never read from the environment.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::errno::Errno;
use crate::op::Kind;
use crate::slot::Token;

pub use crate::op::Kind as OperationKind;

/// What happens to an operation the plan names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// It is not run and ends with this error.
    Fail(Errno),
    /// It runs with at most this many bytes.
    Shorten(u32),
    /// It runs after this time.
    Delay(Duration),
    /// The process ends as by SIGKILL before it runs.
    Kill,
    /// It is not run and ends with 0, the success of what moves no bytes: a step that was forgotten. What makes a descriptor
    /// ends with EIO.
    Skip,
}

/// Which operations a rule names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nth {
    /// Only this one, counted from 1 among the operations of its kind on a core.
    Only(u64),
    /// This one and all later ones.
    From(u64),
}

/// One line of a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The kind of operation; `None` counts all kinds together.
    pub kind: Option<Kind>,
    /// Which of them.
    pub nth: Nth,
    /// What happens.
    pub fault: Fault,
}

/// Whether the arena fills returned blocks with a pattern and checks it when they are handed out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Poison {
    /// Blocks come back as they are.
    #[default]
    Off,
    /// Blocks are filled with a pattern; a changed pattern ends the process.
    On,
}

/// A plan of faults; the default plan is empty.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The rules, the first that fits wins.
    pub rules: Vec<Rule>,
    /// Whether blocks are poisoned.
    pub poison: Poison,
}

/// A core's copy of the plan with its counters.
#[derive(Default)]
pub(crate) struct Faults {
    rules: RefCell<Vec<Rule>>,
    counts: RefCell<[u64; Kind::COUNT]>,
    total: Cell<u64>,
    counting: Cell<bool>,
    // Operations that a delay keeps from the engine, which therefore cannot cancel them.
    held: RefCell<Vec<Token>>,
}

impl Faults {
    pub(crate) fn new(plan: &Plan) -> Faults {
        let faults = Faults::default();
        faults.install(plan.rules.clone());
        faults
    }

    /// Replaces the rules and starts counting from zero.
    pub(crate) fn install(&self, rules: Vec<Rule>) {
        self.counting.set(!rules.is_empty());
        *self.rules.borrow_mut() = rules;
        *self.counts.borrow_mut() = [0; Kind::COUNT];
        self.total.set(0);
    }

    /// Counts one operation and returns what the plan wants of it.
    pub(crate) fn next(&self, kind: Kind) -> Option<Fault> {
        if !self.counting.get() {
            return None;
        }
        let mut counts = self.counts.borrow_mut();
        counts[kind as usize] += 1;
        let of_kind = counts[kind as usize];
        self.total.set(self.total.get() + 1);
        let rules = self.rules.borrow();
        let rule = rules.iter().find(|rule| {
            let count = match rule.kind {
                Some(wanted) if wanted != kind => return false,
                Some(_) => of_kind,
                None => self.total.get(),
            };
            match rule.nth {
                Nth::Only(nth) => count == nth,
                Nth::From(nth) => count >= nth,
            }
        })?;
        if rule.fault == Fault::Kill {
            kill_self();
        }
        Some(rule.fault)
    }

    /// Notes that a delay keeps an operation from the engine.
    pub(crate) fn hold(&self, token: Token) {
        self.held.borrow_mut().push(token);
    }

    /// Ends the delay of an operation; false when it is not delayed, or not any more.
    pub(crate) fn let_go(&self, token: Token) -> bool {
        let mut held = self.held.borrow_mut();
        let place = held.iter().position(|other| *other == token);
        place.map(|place| held.swap_remove(place)).is_some()
    }

    /// How many operations were counted since the rules were installed.
    pub(crate) fn counted(&self) -> u64 {
        self.total.get()
    }
}

fn kill_self() -> ! {
    // SAFETY: getpid takes nothing and cannot fail.
    let pid = unsafe { libc::getpid() };
    // SAFETY: the signal goes to this process alone and ends it.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    unreachable!("SIGKILL to the own process does not return to user space")
}

/// What the plan wants of a plain call: an error, or how many bytes it moves at most. It can be neither delayed without
/// stopping the core nor, as long as its result is needed, left out.
pub(crate) fn of_plain_call(kind: Kind) -> Result<Option<u32>, Errno> {
    match crate::cores::try_with(|core| core.faults.next(kind)).flatten() {
        Some(Fault::Fail(error)) => Err(error),
        Some(Fault::Shorten(bytes)) => Ok(Some(bytes)),
        Some(Fault::Skip) => kind.left_out().map(|()| None),
        Some(Fault::Delay(_)) | None => Ok(None),
        Some(Fault::Kill) => unreachable!("the plan has ended the process"),
    }
}

/// Installs rules on the current core and starts counting from zero.
pub fn install(rules: Vec<Rule>) {
    crate::cores::with(|core| core.faults.install(rules));
}

/// How many operations the current core has counted since rules were installed; zero without rules.
pub fn counted() -> u64 {
    crate::cores::with(|core| core.faults.counted())
}

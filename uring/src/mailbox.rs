//! The mailbox of a core: how other threads reach it.
//!
//! A queue and an eventfd. A sender writes to the eventfd only when the core says that it is about to wait, so a busy
//! core costs its senders no system call. The registry turns a core's number in a waker into its mailbox.
//! Source: eventfd(2).

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use crossbeam::queue::SegQueue;

use crate::errno::Errno;
use crate::slot::Token;

/// What arrives in a mailbox.
pub(crate) enum Letter {
    /// A task is to be polled.
    Wake(u64),
    /// A pool thread has run an operation.
    Completed(Token, i32),
    /// A closure is to run on the core.
    Run(Box<dyn FnOnce() + Send>),
}

/// The mailbox of one core.
pub struct Mailbox {
    letters: SegQueue<Letter>,
    // Whether the core may be waiting in the kernel, so that a sender has to wake it.
    waiting: AtomicBool,
    // Whether the core has ended, so that nobody will open a letter any more.
    closed: AtomicBool,
    eventfd: OwnedFd,
}

impl Mailbox {
    pub(crate) fn new() -> Result<Mailbox, Errno> {
        // SAFETY: eventfd takes two numbers and makes a new descriptor.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: the descriptor is new and nothing else owns it.
        let eventfd = unsafe { OwnedFd::from_raw_fd(fd) };
        let (waiting, closed) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Mailbox { letters: SegQueue::new(), waiting, closed, eventfd })
    }

    /// Runs `act` on the mailbox's core, in order with other letters; drops it unrun when the core has ended or ends
    /// before, so that who waits for a channel it holds finds that closed.
    pub fn run(&self, act: impl FnOnce() + Send + 'static) {
        self.post(Letter::Run(Box::new(act)));
    }

    pub(crate) fn post(&self, letter: Letter) {
        self.letters.push(letter);
        // SeqCst pairs with `close`: either the core that ends sees the letter or this thread sees that it has ended.
        if self.closed.load(Ordering::SeqCst) {
            return self.discard();
        }
        // SeqCst pairs with `may_wait`: either the core sees the letter or this thread sees it waiting.
        if self.waiting.swap(false, Ordering::SeqCst) {
            let one: u64 = 1;
            // SAFETY: eight valid bytes to an open eventfd; a full counter means that a wake-up is pending anyway.
            unsafe { libc::write(self.eventfd.as_raw_fd(), std::ptr::from_ref(&one).cast(), 8) };
        }
    }

    pub(crate) fn take(&self) -> Option<Letter> {
        self.letters.pop()
    }

    /// Drops all letters, and from now on new ones at once, for the end of the core.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.discard();
    }

    fn discard(&self) {
        while let Some(letter) = self.letters.pop() {
            drop(letter);
        }
    }

    /// Announces that the core is about to wait; false when a letter is already there.
    pub(crate) fn may_wait(&self) -> bool {
        self.waiting.store(true, Ordering::SeqCst);
        if self.letters.is_empty() {
            return true;
        }
        self.waiting.store(false, Ordering::SeqCst);
        false
    }

    /// Ends the announcement of `may_wait`.
    pub(crate) fn woke(&self) {
        self.waiting.store(false, Ordering::SeqCst);
    }

    /// Empties the eventfd's counter.
    pub(crate) fn drain(&self) {
        let mut count = 0_u64;
        // SAFETY: reads eight bytes into a valid u64; the descriptor is non-blocking.
        unsafe { libc::read(self.eventfd.as_raw_fd(), std::ptr::from_mut(&mut count).cast(), 8) };
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }
}

/// The mailboxes of all cores of the process, by the core's serial number.
static REGISTRY: RwLock<Vec<Option<Arc<Mailbox>>>> = RwLock::new(Vec::new());

/// The place of a core's mailbox in the registry; the drop takes it out and closes the mailbox, however the core ends.
pub(crate) struct Registered {
    mailbox: Arc<Mailbox>,
    /// The number of the core; numbers are never used again.
    pub(crate) serial: u16,
}

impl Registered {
    /// Adds a mailbox.
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Registered {
        let mut registry = REGISTRY.write().expect("no holder of the registry panics");
        let serial =
            u16::try_from(registry.len()).expect("a process starts fewer than 65,536 cores in its life");
        registry.push(Some(mailbox.clone()));
        Registered { mailbox, serial }
    }

    /// Takes the mailbox out and closes it, for the end of the core.
    pub(crate) fn leave(&self) {
        REGISTRY.write().expect("no holder of the registry panics")[usize::from(self.serial)] = None;
        self.mailbox.close();
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Sends a wake-up to a task of another core; nothing when that core has ended.
pub(crate) fn wake(serial: u16, task: u64) {
    let registry = REGISTRY.read().expect("no holder of the registry panics");
    if let Some(Some(mailbox)) = registry.get(usize::from(serial)) {
        mailbox.post(Letter::Wake(task));
    }
}

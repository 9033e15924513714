//! The blocking pool: a bounded number of threads that run operations as plain system calls.
//!
//! One pool serves all cores of a start. A job is a slot: the thread runs the operation where it stands and sends the
//! result to the core's mailbox. Threads are started on demand and live as long as the pool. When the queue is full a
//! core keeps its jobs and hands them over as results come back. It decides nothing about which operations need it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use crate::cores::Core;
use crate::mailbox::{Letter, Mailbox};
use crate::op::Op;
use crate::slot::Token;

/// Jobs that may wait in the queue; more stay with their core.
const QUEUE_MAX: usize = 1024;

struct Job {
    op: *mut Option<Op>,
    token: Token,
    mailbox: Arc<Mailbox>,
}

// SAFETY: the pointer is to a slot's operation. From submission to completion the core neither touches nor moves it
// (see the invariant of `Slots`), and the core waits for all completions before its slots are freed. The thread reads
// descriptors and memory through it and clones or drops none of its reference counts.
unsafe impl Send for Job {}

enum Message {
    Run(Job),
    /// The thread that takes this ends.
    End,
}

/// The pool all cores of a start share.
pub(crate) struct Pool {
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    threads_max: usize,
    started: AtomicUsize,
    busy: Arc<AtomicUsize>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    pub(crate) fn new(threads_max: usize) -> Pool {
        let (sender, receiver) = bounded(QUEUE_MAX);
        let busy = Arc::new(AtomicUsize::new(0));
        Pool { sender, receiver, threads_max, started: AtomicUsize::new(0), busy, handles: Mutex::default() }
    }

    /// Threads that are running an operation, and jobs that wait for one.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.busy.load(Ordering::Relaxed), self.sender.len())
    }

    fn start_thread_if_needed(&self) {
        let started = self.started.load(Ordering::Relaxed);
        if started >= self.threads_max
            || (self.sender.is_empty() && started > self.busy.load(Ordering::Relaxed))
        {
            return;
        }
        let mut handles = self.handles.lock().expect("no holder of the lock panics");
        if handles.len() >= self.threads_max {
            return;
        }
        let (receiver, busy) = (self.receiver.clone(), self.busy.clone());
        let work = move || {
            while let Ok(Message::Run(job)) = receiver.recv() {
                busy.fetch_add(1, Ordering::Relaxed);
                run(job);
                busy.fetch_sub(1, Ordering::Relaxed);
            }
        };
        let thread = std::thread::Builder::new().name("ringway-pool".to_string()).spawn(work);
        match thread {
            Ok(handle) => {
                handles.push(handle);
                self.started.store(handles.len(), Ordering::Relaxed);
            }
            // With one thread the pool still works; with none it cannot.
            Err(error) => assert!(!handles.is_empty(), "no thread for the blocking pool: {error}"),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let handles = std::mem::take(&mut *self.handles.lock().expect("no holder of the lock panics"));
        for _ in &handles {
            // A thread that a hung filesystem holds never takes its message; the queue has room for all others.
            let _ = self.sender.try_send(Message::End);
        }
        // The threads are not joined: one that hangs in the kernel must not keep the process from ending.
        drop(handles);
    }
}

fn run(job: Job) {
    // SAFETY: see `Job`: until the letter below arrives this thread alone uses the operation.
    let op = unsafe { &mut *job.op };
    let op = op.as_mut().expect("a submitted slot has an operation");
    let mut result = op.call();
    while result == -libc::EINTR {
        result = op.call();
    }
    job.mailbox.post(Letter::Completed(job.token, result));
}

/// A core's side of the pool: the jobs that found the queue full.
pub(crate) struct PoolDoor {
    pool: Arc<Pool>,
    backlog: RefCell<VecDeque<Token>>,
}

impl PoolDoor {
    pub(crate) fn new(pool: Arc<Pool>) -> PoolDoor {
        PoolDoor { pool, backlog: RefCell::default() }
    }

    /// Runs a slot's operation on a thread of the pool.
    pub(crate) fn run(&self, core: &Core, token: Token) {
        self.backlog.borrow_mut().push_back(token);
        self.hand_over(core);
    }

    /// Hands over jobs that wait with the core, as far as the queue has room.
    pub(crate) fn hand_over(&self, core: &Core) {
        let mut backlog = self.backlog.borrow_mut();
        while let Some(token) = backlog.front().copied() {
            let job = Job { op: core.slots.address(token.index), token, mailbox: core.mailbox.clone() };
            match self.pool.sender.try_send(Message::Run(job)) {
                Ok(()) => {
                    backlog.pop_front();
                    core.counters.pool_jobs.add(1);
                    self.pool.start_thread_if_needed();
                }
                Err(TrySendError::Full(_)) => return,
                Err(TrySendError::Disconnected(_)) => unreachable!("the pool keeps a receiver of its own"),
            }
        }
    }

    /// Threads that are running an operation, and jobs that wait for one, this core's backlog included.
    pub(crate) fn load(&self) -> (usize, usize) {
        let (busy, queued) = self.pool.load();
        (busy, queued + self.backlog.borrow().len())
    }
}

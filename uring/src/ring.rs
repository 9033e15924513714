//! The ring engine: one io_uring of one core, submitted to and reaped by the core's own thread.
//!
//! `submit` turns a slot's operation into a submission queue entry, `turn` enters the kernel once for everything that
//! gathered and takes the completions in. What has no opcode goes to the blocking pool. It polls no task and owns no
//! buffer: operations stand in their slots, blocks in the arena.
//! Source: io_uring_setup(2) with SINGLE_ISSUER and DEFER_TASKRUN, io_uring_enter(2).

use std::cell::{Cell, RefCell};
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode, squeue, types};

use crate::arena::{Arena, Registration};
use crate::cores::{Core, Counters, Wait};
use crate::errno::Errno;
use crate::flight;
use crate::lane::{Act, Lane, Reach, Workers};
use crate::op::{Kind, Op};
use crate::shortage::Shortage;
use crate::slot::Token;
use crate::time;

/// A ring with this many entries takes what a busy core gathers in one turn; more only costs locked memory.
pub(crate) const ENTRIES: u32 = 1024;
/// Below this a ring is no use, so RLIMIT_MEMLOCK is reported instead of shrinking further.
const ENTRIES_MIN: u32 = 16;
/// Completions may outnumber submissions (multishot), and an overflow costs an extra system call.
const COMPLETIONS_PER_ENTRY: u32 = 4;
/// Kernel worker threads a core: bounded ones run file operations, unbounded ones the rest.
///
/// A durable PUT has about six operations that need one; two to four threads would run PUTs one after another.
pub(crate) const WORKERS: [u32; 2] = [32, 8];

/// `user_data` of the entry that watches the mailbox; no token has the top bit.
const MAILBOX: u64 = 1 << 63;
/// `user_data` of cancellations, whose own completion says nothing.
const CANCELLATION: u64 = MAILBOX | 1;

/// The ring of one core.
pub(crate) struct Ring {
    ring: RefCell<IoUring>,
    // Completions of one turn, kept to spare an allocation a turn.
    reaped: RefCell<Vec<cqueue::Entry>>,
    registration: Registration,
    has_truncate: bool,
    // Whether the queue holds an operation on a file that the kernel may run while it takes it.
    may_end_at_once: Cell<bool>,
    wait_flags: EnterFlags,
    pub(crate) entries: u32,
}

impl Ring {
    /// Opens a ring on the calling thread, which alone may use it.
    pub(crate) fn open(arena: &Arena, shortages: &mut Vec<Shortage>) -> Result<Ring, Errno> {
        let mut ring = build_as_large_as_allowed()?;
        let entries = ring.params().sq_entries();
        if entries < ENTRIES {
            shortages.push(Shortage::Entries(entries));
        }
        let has_truncate = probe(&ring)?;
        arena.prefer_large_pages();
        // SAFETY: the arena's mapping outlives the ring: `Core` drops the engine first.
        let registered = unsafe { ring.submitter().register_buffers(&arena.pieces()) };
        let registration = match registered {
            Ok(()) => arena.registered(),
            Err(error) => {
                shortages.push(Shortage::Arena(Errno::from(error)));
                Registration::Unregistered
            }
        };
        ring.submitter().register_iowq_max_workers(&mut WORKERS.clone())?;
        // The ring's own descriptor is not registered: the crate forgets the number with each `Submitter`, and the
        // registration would keep the ring and the arena's pages until the thread ends.
        let wait_flags =
            if ring.params().is_feature_no_iowait() { EnterFlags::NO_IOWAIT } else { EnterFlags::empty() };
        ring.submission().sync();
        Ok(Ring {
            ring: RefCell::new(ring),
            reaped: RefCell::default(),
            registration,
            has_truncate,
            may_end_at_once: Cell::new(false),
            wait_flags,
            entries,
        })
    }

    /// Starts to watch the core's mailbox.
    pub(crate) fn watch_mailbox(&self, core: &Core) {
        let entry =
            opcode::PollAdd::new(types::Fd(core.mailbox.raw()), libc::POLLIN as u32).multi(true).build();
        self.push(core, entry.user_data(MAILBOX));
    }

    /// Whose thread an operation may hold.
    pub(crate) fn workers(&self, op: &Op) -> Option<Workers> {
        match op.kind() {
            // On a local filesystem reads wait for pages and devices without a thread, and a frozen one can be read.
            Kind::Read if is_remote(op) => Some(Workers::Ring),
            Kind::Read => None,
            Kind::ReadDirectory | Kind::Copy | Kind::SetTimes | Kind::Space | Kind::Lock => {
                Some(Workers::Pool)
            }
            Kind::Truncate if !self.has_truncate => Some(Workers::Pool),
            Kind::Accept | Kind::Poll | Kind::Receive | Kind::Send | Kind::Connect => None,
            Kind::Write | Kind::Sync | Kind::Allocate | Kind::Truncate | Kind::Close | Kind::Open => {
                Some(Workers::Ring)
            }
            Kind::MakeDirectory | Kind::Link | Kind::Rename | Kind::Unlink => Some(Workers::Ring),
            Kind::SetAttribute | Kind::GetAttribute | Kind::Stat => Some(Workers::Ring),
        }
    }

    /// Hands a slot's operation to the kernel with the next turn, or to the pool when no opcode serves it.
    pub(crate) fn submit(&self, core: &Core, token: Token) {
        let registration = self.registration;
        let entry = core.slots.with_op(token, |op, identity| {
            if self.workers(op) == Some(Workers::Pool) {
                return None;
            }
            if let Op::Write(write) = op {
                core.counters.count_write(registration, write.file.is_direct());
            }
            let entry = op.entry(registration)?;
            // Without the flag the kernel first tries, while it takes the submission, what it could do at once, and for
            // some of it (the open of a path it has in memory) it asks the filesystem and waits.
            let entry = if is_remote(op) {
                entry.flags(squeue::Flags::ASYNC)
            } else {
                if may_end_at_once(op) {
                    self.may_end_at_once.set(true);
                }
                entry
            };
            Some(entry.personality(identity.personality()))
        });
        match entry {
            Some(entry) => self.push(core, entry.user_data(token.user_data())),
            None => core.pool.run(core, token),
        }
    }

    /// Asks the kernel to cancel what it can of a slot's operation.
    pub(crate) fn cancel(&self, core: &Core, token: Token) {
        self.push(core, opcode::AsyncCancel::new(token.user_data()).build().user_data(CANCELLATION));
    }

    fn push(&self, core: &Core, entry: squeue::Entry) {
        let mut ring = self.ring.borrow_mut();
        // SAFETY: whatever the entry points to is owned by an operation in a slot, which stays until its completion.
        if unsafe { ring.submission().push(&entry) }.is_ok() {
            return;
        }
        core.counters.submissions_full.add(1);
        make_room(&core.counters, &mut ring);
        // SAFETY: as above.
        let pushed = unsafe { ring.submission().push(&entry) };
        pushed.expect("there is room now");
    }

    /// Enters the kernel if there is a reason to, then takes all completions in; says how long it waited.
    pub(crate) fn turn(&self, core: &Core, wait: Wait) -> Duration {
        let waited = self.enter(core, wait);
        let mut reaped = self.reaped.take();
        loop {
            reaped.extend(self.ring.borrow_mut().completion());
            if reaped.is_empty() {
                break;
            }
            core.counters.completions.add(reaped.len() as u64);
            for completion in reaped.drain(..) {
                self.take_in(core, &completion);
            }
        }
        self.reaped.replace(reaped);
        waited
    }

    fn enter(&self, core: &Core, wait: Wait) -> Duration {
        let mut ring = self.ring.borrow_mut();
        let submission = ring.submission();
        let (gathered, deferred) = (submission.len(), submission.taskrun() || submission.cq_overflow());
        drop(submission);
        let may_end_at_once = self.may_end_at_once.take();
        let deadline = match wait {
            Wait::Until(deadline) if !deferred && ring.completion().is_empty() => deadline,
            // Something is there to be taken in.
            Wait::No | Wait::Until(_) => {
                if gathered > 0 || deferred {
                    submit(&core.counters, &mut ring, gathered);
                }
                return Duration::ZERO;
            }
        };
        // What the kernel may do while it takes the submission is no wait. An operation that it did ends the turn as it would
        // have ended the wait, so that this costs an entry more only where a thread or a device has to be waited for.
        if may_end_at_once {
            submit(&core.counters, &mut ring, gathered);
            if !ring.completion().is_empty() {
                return Duration::ZERO;
            }
        }
        let began = time::now();
        let timeout = deadline.map(|deadline| Timespec::from(deadline.since(began)));
        submit_and_wait(&core.counters, &mut ring, timeout.as_ref(), self.wait_flags);
        time::now().since(began)
    }

    fn take_in(&self, core: &Core, completion: &cqueue::Entry) {
        let (user_data, result) = (completion.user_data(), completion.result());
        match user_data {
            MAILBOX => {
                core.mailbox.drain();
                if !cqueue::more(completion.flags()) {
                    self.watch_mailbox(core);
                }
            }
            CANCELLATION => {}
            _ => flight::complete(core, Token::of(user_data), result),
        }
    }
}

/// Enters the kernel until a full queue has room: it takes the entries in order.
fn make_room(counters: &Counters, ring: &mut IoUring) {
    loop {
        let gathered = ring.submission().len();
        submit(counters, ring, gathered);
        if !ring.submission().is_full() {
            return;
        }
    }
}

/// Enters the kernel without waiting: it takes the submissions and does what it has put off.
fn submit(counters: &Counters, ring: &mut IoUring, gathered: usize) {
    let entered = enter(ring, gathered);
    settle(counters, ring, gathered, entered);
}

/// Enters the kernel: it takes the submissions, does what it has put off and waits for a completion.
fn submit_and_wait(
    counters: &Counters,
    ring: &mut IoUring,
    timeout: Option<&Timespec>,
    wait_flags: EnterFlags,
) {
    let gathered = ring.submission().len();
    let mut arguments = SubmitArgs::new();
    if let Some(timeout) = timeout {
        arguments = arguments.timespec(timeout);
    }
    let entered = ring.submitter().submit_with_args_and_flags(1, &arguments, wait_flags);
    settle(counters, ring, gathered, entered);
}

fn enter(ring: &IoUring, gathered: usize) -> std::io::Result<usize> {
    let flags = EnterFlags::GETEVENTS.bits();
    // SAFETY: no argument is passed, and the count is at most that of the queue.
    unsafe { ring.submitter().enter::<libc::sigset_t>(gathered as u32, 0, flags, None) }
}

/// Enters the kernel once more when it has not taken all that was gathered, for want of memory: it has returned without a
/// look at what it had put off then, and operations that have ended keep the memory that it wants until it does that.
/// Source: `io_uring_enter` in the kernel's `io_uring/io_uring.c`.
fn settle(counters: &Counters, ring: &IoUring, gathered: usize, entered: std::io::Result<usize>) {
    let is_short = gathered > 0 && !matches!(entered, Ok(taken) if taken >= gathered);
    check(counters, entered);
    if is_short {
        check(counters, enter(ring, 0));
    }
}

fn check(counters: &Counters, entered: std::io::Result<usize>) {
    counters.enters.add(1);
    if let Err(error) = entered {
        assert!(is_passing(&error), "io_uring_enter failed for good: {error}");
    }
}

/// Whether an operation is of a filesystem that may not answer; those on sockets are of none.
fn is_remote(op: &Op) -> bool {
    op.lane().map(Lane::reach) == Some(Reach::Remote)
}

/// Whether the kernel may run an operation while it takes the submission. What makes a file, and a write through the page
/// cache of most filesystems, always goes to a thread.
fn may_end_at_once(op: &Op) -> bool {
    let looks = matches!(op.kind(), Kind::Open | Kind::Read) && op.act() == Act::Read;
    looks || matches!(op, Op::Write(write) if write.file.is_direct())
}

/// Whether entering again later is the right answer to an error.
fn is_passing(error: &std::io::Error) -> bool {
    // EAGAIN: no memory; EBUSY: completions overflowed and have to be reaped first; ETIME: the wait ended by its deadline.
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ETIME))
}

fn build_as_large_as_allowed() -> Result<IoUring, Errno> {
    let mut entries = ENTRIES;
    loop {
        let built = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(entries * COMPLETIONS_PER_ENTRY)
            .build(entries);
        match built {
            Ok(ring) => return Ok(ring),
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && entries > ENTRIES_MIN => entries /= 2,
            Err(error) => return Err(Errno::from(error)),
        }
    }
}

/// Checks that the kernel has every opcode of Linux 6.1 we use; says whether it has `ftruncate`, which is newer.
fn probe(ring: &IoUring) -> Result<bool, Errno> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let needed = [
        opcode::PollAdd::CODE,
        opcode::Recv::CODE,
        opcode::Connect::CODE,
        opcode::AsyncCancel::CODE,
        opcode::Read::CODE,
        opcode::ReadFixed::CODE,
        opcode::Write::CODE,
        opcode::WriteFixed::CODE,
        opcode::Fsync::CODE,
        opcode::Fallocate::CODE,
        opcode::Close::CODE,
        opcode::OpenAt2::CODE,
        opcode::MkDirAt::CODE,
        opcode::LinkAt::CODE,
        opcode::RenameAt::CODE,
        opcode::UnlinkAt::CODE,
        opcode::FSetXattr::CODE,
        opcode::FGetXattr::CODE,
        opcode::Statx::CODE,
    ];
    if needed.iter().all(|code| probe.is_supported(*code)) {
        Ok(probe.is_supported(opcode::Ftruncate::CODE))
    } else {
        Err(Errno::NOSYS)
    }
}

/// Whether a ring of the kind the engine needs can be had by this process at all, and does what it is told.
pub(crate) fn try_open() -> Result<(), Errno> {
    let mut ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(ENTRIES_MIN)?;
    probe(&ring)?;
    // A seccomp profile may allow one of the three system calls and forbid another.
    // SAFETY: the entry points to nothing.
    let pushed = unsafe { ring.submission().push(&opcode::Nop::new().build()) };
    pushed.expect("a new queue has room");
    ring.submit_and_wait(1)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::{AsRawFd, FromRawFd};

    use super::*;

    const PUT_OFF: u64 = 1;
    const REFUSED: u64 = 2;
    const LEFT: u64 = 3;

    /// Checks that `act` has the kernel finish a poll that has ended, although it takes only the first of four entries.
    ///
    /// The ring is one that takes nothing behind an entry that is refused, unlike a core's, from which only want of memory
    /// keeps entries.
    fn check_put_off_is_done(act: impl FnOnce(&Counters, &mut IoUring)) {
        let built = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(4);
        let Ok(mut ring) = built else {
            eprintln!("SKIPPED what was put off: io_uring is refused here");
            return;
        };
        let counters = Counters::default();
        // SAFETY: eventfd takes two numbers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        // SAFETY: the descriptor is new and nothing else owns it.
        let mut event = unsafe { File::from_raw_fd(fd) };
        let poll = opcode::PollAdd::new(types::Fd(event.as_raw_fd()), libc::POLLIN as u32).build();
        push_all(&mut ring, &[poll.user_data(PUT_OFF)]);
        submit(&counters, &mut ring, 1);
        assert!(ring.completion().is_empty());
        // From here on the poll has ended, which the kernel has put off.
        event.write_all(&1u64.to_ne_bytes()).unwrap();
        let refused = opcode::Nop::new().build().personality(u16::MAX).user_data(REFUSED);
        let left = opcode::Nop::new().build().user_data(LEFT);
        push_all(&mut ring, &[refused, left.clone(), left.clone(), left]);
        act(&counters, &mut ring);
        let mut completed = ring.completion().map(|completion| completion.user_data()).collect::<Vec<_>>();
        completed.sort_unstable();
        assert_eq!((completed, ring.submission().len()), (vec![PUT_OFF, REFUSED], 3));
        assert_eq!(counters.enters.read(), 3);
    }

    fn push_all(ring: &mut IoUring, entries: &[squeue::Entry]) {
        // SAFETY: the entries point to nothing.
        unsafe { ring.submission().push_multiple(entries) }.unwrap();
    }

    #[test]
    fn a_submission_does_what_was_put_off_though_entries_are_left() {
        check_put_off_is_done(|counters, ring| submit(counters, ring, 4));
    }

    #[test]
    fn a_full_queue_does_what_was_put_off_though_entries_are_left() {
        check_put_off_is_done(make_room);
    }

    #[test]
    fn a_wait_does_what_was_put_off_though_entries_are_left() {
        check_put_off_is_done(|counters, ring| {
            let timeout = Timespec::from(Duration::from_secs(10));
            submit_and_wait(counters, ring, Some(&timeout), EnterFlags::empty());
        });
    }
}

//! The engine without io_uring: epoll for sockets, the blocking pool for everything else.
//!
//! It runs the same operations with the same results and errors as the ring. A socket operation is tried at once and,
//! when it would block, again whenever epoll says the socket is ready. Operations that wait for one direction of a
//! socket are tried in the order they came.
//! Source: epoll(7), epoll_ctl(2), epoll_pwait2(2).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::arena::Registration;
use crate::cores::{Core, Wait};
use crate::errno::Errno;
use crate::flight;
use crate::mailbox::Mailbox;
use crate::op::{Op, Waits};
use crate::slot::Token;
use crate::time;

/// Events taken in one turn; more wait for the next one.
const EVENTS_MAX: usize = 256;
/// Socket operations that may end without waiting between two looks at epoll. Beyond it even those that could wait
/// for an event, or a task whose peer is fast would never let go of the core.
const IMMEDIATE_A_TURN: u32 = 128;
/// The epoll number of the mailbox; no descriptor is negative.
const MAILBOX: u64 = u64::MAX;

/// Who waits on a socket.
#[derive(Default)]
struct Watch {
    readable: Vec<Token>,
    writable: Vec<Token>,
}

impl Watch {
    fn is_empty(&self) -> bool {
        self.readable.is_empty() && self.writable.is_empty()
    }
}

/// The epoll set of one core.
pub(crate) struct Threads {
    epoll: OwnedFd,
    watches: RefCell<HashMap<RawFd, Watch>>,
    // The socket each waiting slot waits on, so that a cancellation need not search.
    sockets: RefCell<HashMap<u32, RawFd>>,
    has_pwait2: Cell<bool>,
    // Socket operations submitted since the last turn.
    submitted: Cell<u32>,
}

impl Threads {
    /// Opens the epoll set and adds the mailbox.
    pub(crate) fn open(mailbox: &Mailbox) -> Result<Threads, Errno> {
        // SAFETY: epoll_create1 takes a flag and makes a new descriptor.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: the descriptor is new and nothing else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let threads = Threads {
            epoll,
            watches: RefCell::default(),
            sockets: RefCell::default(),
            has_pwait2: Cell::new(true),
            submitted: Cell::new(0),
        };
        threads.control(libc::EPOLL_CTL_ADD, mailbox.raw(), libc::EPOLLIN as u32, MAILBOX)?;
        Ok(threads)
    }

    fn control(&self, command: i32, fd: RawFd, events: u32, number: u64) -> Result<(), Errno> {
        let mut event = libc::epoll_event { events, u64: number };
        // SAFETY: one valid event; the kernel copies it during the call.
        let result = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), command, fd, &mut event) };
        if result < 0 { Err(Errno::last()) } else { Ok(()) }
    }

    /// Tries a socket operation, or lets it wait its turn, or hands a file operation to the pool.
    pub(crate) fn submit(&self, core: &Core, token: Token) {
        let (waits, begins) = core.slots.with_op(token, |op, _| {
            if let Op::Write(write) = op {
                core.counters.count_write(Registration::Unregistered, write.file.is_direct());
            }
            // A connection has to be begun before there is anything to wait for.
            (op.waits(), matches!(op, Op::Connect(_)))
        });
        if waits == Waits::Pool {
            return core.pool.run(core, token);
        }
        let submitted = self.submitted.get();
        self.submitted.set(submitted + 1);
        if submitted < IMMEDIATE_A_TURN || begins {
            self.attempt(core, token, waits);
        } else {
            self.watch(core, token, waits);
        }
    }

    fn attempt(&self, core: &Core, token: Token, waits: Waits) {
        match core.slots.with_op(token, |op, _| op.call()) {
            again if again == -libc::EAGAIN => self.watch(core, token, waits),
            result => flight::complete(core, token, result),
        }
    }

    /// Lets an operation wait until epoll says that its socket is ready.
    fn watch(&self, core: &Core, token: Token, waits: Waits) {
        let socket = core.slots.with_op(token, |op, _| op.socket());
        let socket = socket.expect("an operation that waits for readiness has a socket");
        {
            let mut watches = self.watches.borrow_mut();
            let watch = watches.entry(socket).or_default();
            let places = match waits {
                Waits::Readable => &mut watch.readable,
                Waits::Writable => &mut watch.writable,
                Waits::Pool => unreachable!("a pool operation is not attempted on the core"),
            };
            places.push(token);
            self.sockets.borrow_mut().insert(token.index, socket);
        }
        if let Err(error) = self.arm(socket) {
            self.forget(socket, token);
            flight::complete(core, token, -error.0);
        }
    }

    /// Asks for one event of what is waited for.
    fn arm(&self, socket: RawFd) -> Result<(), Errno> {
        let mut events = libc::EPOLLONESHOT;
        if let Some(watch) = self.watches.borrow().get(&socket) {
            if !watch.readable.is_empty() {
                events |= libc::EPOLLIN | libc::EPOLLRDHUP;
            }
            if !watch.writable.is_empty() {
                events |= libc::EPOLLOUT;
            }
        }
        match self.control(libc::EPOLL_CTL_MOD, socket, events as u32, socket as u64) {
            Err(Errno::NOENT) => self.control(libc::EPOLL_CTL_ADD, socket, events as u32, socket as u64),
            other => other,
        }
    }

    /// Removes a token from the watch of a socket; true when it was there.
    fn forget(&self, socket: RawFd, token: Token) -> bool {
        let mut watches = self.watches.borrow_mut();
        let Some(watch) = watches.get_mut(&socket) else { return false };
        let mut found = false;
        for places in [&mut watch.readable, &mut watch.writable] {
            if let Some(place) = places.iter().position(|other| *other == token) {
                places.remove(place);
                self.sockets.borrow_mut().remove(&token.index);
                found = true;
            }
        }
        if watch.is_empty() {
            watches.remove(&socket);
        }
        found
    }

    /// Ends a socket operation that waits; what the pool has cannot be recalled.
    pub(crate) fn cancel(&self, core: &Core, token: Token) {
        if !core.slots.is_pending(token) {
            return;
        }
        // A pool thread may be running the operation, so only the watches may be asked about it.
        let socket = self.sockets.borrow().get(&token.index).copied();
        let Some(socket) = socket else { return };
        if !self.forget(socket, token) {
            return;
        }
        let received = core.slots.with_op(token, |op, _| match op {
            Op::Receive(receive) => receive.received,
            _ => 0,
        });
        // Like the ring: bytes that were received before the cancellation are the result.
        let result = if received > 0 { received as i32 } else { -libc::ECANCELED };
        flight::complete(core, token, result);
    }

    /// Waits for events and runs what became ready; says how long it waited.
    pub(crate) fn turn(&self, core: &Core, wait: Wait) -> Duration {
        self.submitted.set(0);
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        let began = time::now();
        let count = self.wait(&mut events, wait);
        let waited = match wait {
            Wait::No => Duration::ZERO,
            Wait::Until(_) => time::now().since(began),
        };
        core.counters.enters.add(1);
        for event in &events[..count] {
            let (flags, number) = (event.events, event.u64);
            if number == MAILBOX {
                core.mailbox.drain();
                continue;
            }
            self.serve(core, number as RawFd, flags);
        }
        waited
    }

    fn wait(&self, events: &mut [libc::epoll_event], wait: Wait) -> usize {
        let timeout_ns = match wait {
            Wait::No => Some(0),
            Wait::Until(None) => None,
            Wait::Until(Some(deadline)) => Some(deadline.since(time::now()).as_nanos() as u64),
        };
        let epoll = self.epoll.as_raw_fd();
        let (pointer, length) = (events.as_mut_ptr(), events.len() as i32);
        if self.has_pwait2.get() {
            let timeout = timeout_ns.map(|ns| libc::timespec {
                tv_sec: (ns / 1_000_000_000) as i64,
                tv_nsec: (ns % 1_000_000_000) as i64,
            });
            let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            // SAFETY: `events` has room for `length` events; the timeout is null or valid during the call.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    epoll,
                    pointer,
                    length,
                    timeout,
                    std::ptr::null::<u8>(),
                    0,
                )
            };
            match Errno::check(Errno::of_call(result)) {
                Ok(count) => return count as usize,
                Err(Errno::NOSYS | Errno::PERM) => self.has_pwait2.set(false),
                Err(_) => return 0,
            }
        }
        // Rounded up, so that a wait never ends before its deadline and spins.
        let timeout_ms = timeout_ns.map_or(-1, |ns| ns.div_ceil(1_000_000).min(i32::MAX as u64) as i32);
        // SAFETY: `events` has room for `length` events.
        let result = unsafe { libc::epoll_wait(epoll, pointer, length, timeout_ms) };
        usize::try_from(result).unwrap_or(0)
    }

    fn serve(&self, core: &Core, socket: RawFd, flags: u32) {
        let broken = flags & (libc::EPOLLERR | libc::EPOLLHUP) as u32 != 0;
        let readable = broken || flags & (libc::EPOLLIN | libc::EPOLLRDHUP) as u32 != 0;
        let writable = broken || flags & libc::EPOLLOUT as u32 != 0;
        let mut ready = Vec::with_capacity(2);
        {
            let mut watches = self.watches.borrow_mut();
            let Some(watch) = watches.get_mut(&socket) else { return };
            if readable {
                ready.extend(watch.readable.drain(..).map(|token| (token, Waits::Readable)));
            }
            if writable {
                ready.extend(watch.writable.drain(..).map(|token| (token, Waits::Writable)));
            }
            if watch.is_empty() {
                watches.remove(&socket);
            }
        }
        for (token, waits) in &ready {
            self.sockets.borrow_mut().remove(&token.index);
            self.attempt(core, *token, *waits);
        }
        // The event has disarmed the other direction too.
        if self.watches.borrow().contains_key(&socket) {
            let armed = self.arm(socket);
            debug_assert!(armed.is_ok(), "a watched socket is open");
        }
    }
}

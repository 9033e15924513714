//! Sockets: listening, accepting, receiving, sending.
//!
//! Sockets are left in blocking mode because the ring refuses to receive on others; every plain call says MSG_DONTWAIT.
//! `sendfile` has no such flag, so its caller switches the socket for the length of a body; a listener is never blocking.
//! Sends never lend memory to the kernel: what does not fit is sent again when the socket is writable.
//! Source: socket(7), tcp(7), sendfile(2).

use std::future::Future;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::arena::BlockMut;
use crate::aside::Aside;
use crate::cores;
use crate::engine::Name;
use crate::errno::Errno;
use crate::fault;
use crate::file::File;
use crate::flight::Flight;
use crate::identity::Identity;
use crate::op::socket::{Connect, PollFor, Receive};
use crate::op::{Kind, Op};
use crate::time::{self, First, Moment};

/// An open socket; clones share the descriptor, the last one closes it.
#[derive(Clone)]
pub struct Socket(Rc<OwnedFd>);

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Bytes to receive, or the end of the stream.
    Readable,
    /// Room to send.
    Writable,
}

/// How much a receive waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Whatever is there first.
    Some,
    /// The whole range, or the end of the stream.
    All,
}

/// Whether more will be sent at once, so that the kernel may wait for a full segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    /// More follows.
    More,
    /// This is the end of a response.
    Nothing,
}

/// Whether plain calls on a socket may wait in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As the ring needs it.
    Blocking,
    /// As `sendfile` needs it.
    NonBlocking,
}

impl Socket {
    /// The descriptor's number; valid as long as a clone lives.
    pub fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    fn set_option(&self, level: i32, option: i32, value: i32) -> Result<(), Errno> {
        let pointer = std::ptr::from_ref(&value).cast();
        let length = size_of::<i32>() as libc::socklen_t;
        // SAFETY: an integer option of the size of an integer.
        let result = unsafe { libc::setsockopt(self.raw(), level, option, pointer, length) };
        Errno::check(Errno::of_call(i64::from(result))).map(|_| ())
    }

    /// Sends small segments at once.
    pub fn set_no_delay(&self) -> Result<(), Errno> {
        self.set_option(libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)
    }

    /// Switches between blocking and non-blocking mode.
    pub fn set_mode(&self, mode: Mode) -> Result<(), Errno> {
        let mut value: i32 = match mode {
            Mode::Blocking => 0,
            Mode::NonBlocking => 1,
        };
        // SAFETY: FIONBIO reads one integer.
        let result = unsafe { libc::ioctl(self.raw(), libc::FIONBIO, &mut value) };
        Errno::check(Errno::of_call(i64::from(result))).map(|_| ())
    }

    /// The pending error of the socket as a result: zero or a negative errno.
    pub(crate) fn take_error(&self) -> i32 {
        let mut value = 0_i32;
        let mut length = size_of::<i32>() as libc::socklen_t;
        let pointer = std::ptr::from_mut(&mut value).cast();
        // SAFETY: SO_ERROR writes one integer.
        let result =
            unsafe { libc::getsockopt(self.raw(), libc::SOL_SOCKET, libc::SO_ERROR, pointer, &mut length) };
        match Errno::of_call(i64::from(result)) {
            0 => -value,
            error => error,
        }
    }

    /// The local address.
    pub fn local_address(&self) -> Result<SocketAddr, Errno> {
        self.address_by(libc::getsockname)
    }

    /// The peer's address.
    pub fn peer_address(&self) -> Result<SocketAddr, Errno> {
        self.address_by(libc::getpeername)
    }

    fn address_by(
        &self,
        call: unsafe extern "C" fn(i32, *mut libc::sockaddr, *mut libc::socklen_t) -> i32,
    ) -> Result<SocketAddr, Errno> {
        // SAFETY: a sockaddr_storage is made of integers, for which zero is a valid value.
        let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        // SAFETY: the storage has room for `length` bytes of any address family.
        let result = unsafe { call(self.raw(), std::ptr::from_mut(&mut storage).cast(), &mut length) };
        Errno::check(Errno::of_call(i64::from(result)))?;
        decode_address(&storage)
    }

    /// Ends both directions; what waits on the socket completes.
    pub fn shutdown(&self) {
        // SAFETY: the descriptor is open; a socket that is not connected any more only returns an error.
        unsafe { libc::shutdown(self.raw(), libc::SHUT_RDWR) };
    }

    /// Ends the sending direction: the peer sees the end of the stream after all that was sent.
    pub fn shutdown_sending(&self) {
        // SAFETY: as in `shutdown`.
        unsafe { libc::shutdown(self.raw(), libc::SHUT_WR) };
    }
}

fn decode_address(storage: &libc::sockaddr_storage) -> Result<SocketAddr, Errno> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds a sockaddr_in.
            let v4 = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            Ok(SocketAddr::from((v4.sin_addr.s_addr.to_ne_bytes(), u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the storage holds a sockaddr_in6.
            let v6 = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            Ok(SocketAddr::from((v6.sin6_addr.s6_addr, u16::from_be(v6.sin6_port))))
        }
        _ => Err(Errno::INVAL),
    }
}

fn encode_address(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: a sockaddr_storage is made of integers, for which zero is a valid value.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let pointer = std::ptr::from_mut(&mut storage);
    match address {
        SocketAddr::V4(v4) => {
            // SAFETY: the storage is larger than a sockaddr_in and aligned for every family.
            let out = unsafe { &mut *pointer.cast::<libc::sockaddr_in>() };
            out.sin_family = libc::AF_INET as libc::sa_family_t;
            out.sin_port = v4.port().to_be();
            out.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            (storage, size_of::<libc::sockaddr_in>() as libc::socklen_t)
        }
        SocketAddr::V6(v6) => {
            // SAFETY: the storage is larger than a sockaddr_in6 and aligned for every family.
            let out = unsafe { &mut *pointer.cast::<libc::sockaddr_in6>() };
            out.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            out.sin6_port = v6.port().to_be();
            out.sin6_addr.s6_addr = v6.ip().octets();
            out.sin6_scope_id = v6.scope_id();
            (storage, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
        }
    }
}

fn new_socket(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: socket takes three numbers and makes a new descriptor.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the descriptor is new and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// How many connections the kernel keeps for a listener that is busy.
const BACKLOG: i32 = 4096;

/// A listening socket that may move to the core that will accept from it.
pub struct Listener(OwnedFd, SocketAddr);

impl Listener {
    /// Listens on `address`; several listeners of one process may share it (SO_REUSEPORT).
    ///
    /// Cores open theirs in order, the first with port zero if the kernel is to choose.
    pub fn open(address: SocketAddr) -> Result<Listener, Errno> {
        let socket = Socket(Rc::new(new_socket(address)?));
        socket.set_option(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        socket.set_option(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        let (storage, length) = encode_address(address);
        // SAFETY: the address is `length` valid bytes.
        let result = unsafe { libc::bind(socket.raw(), std::ptr::from_ref(&storage).cast(), length) };
        Errno::check(Errno::of_call(i64::from(result)))?;
        // SAFETY: the descriptor is an open, bound socket.
        let result = unsafe { libc::listen(socket.raw(), BACKLOG) };
        Errno::check(Errno::of_call(i64::from(result)))?;
        let address = socket.local_address()?;
        let fd = Rc::try_unwrap(socket.0).expect("the socket was not cloned");
        Ok(Listener(fd, address))
    }

    /// The address with its port resolved.
    pub fn address(&self) -> SocketAddr {
        self.1
    }
}

/// Accepts connections of one listener on one core.
///
/// They are taken one by one with a plain call once the listener is ready, so that none is taken for which there is no room:
/// an operation that accepts on and on brings all that wait, which may be thousands.
pub struct Acceptor {
    listener: Socket,
    wait: Option<Ready>,
}

impl Acceptor {
    /// Starts to accept on the current core.
    pub fn new(listener: Listener) -> Result<Acceptor, Errno> {
        let listener = Socket(Rc::new(listener.0));
        listener.set_mode(Mode::NonBlocking)?;
        Ok(Acceptor { listener, wait: None })
    }

    /// Waits for the next connection.
    ///
    /// Errors: EMFILE and its kin, which last: wait a moment before the next call.
    pub fn accept(&mut self) -> impl Future<Output = Result<Socket, Errno>> + '_ {
        std::future::poll_fn(|context| self.poll_accept(context))
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<Result<Socket, Errno>> {
        loop {
            if let Some(wait) = &mut self.wait {
                let ready = std::task::ready!(Pin::new(wait).poll(context));
                self.wait = None;
                ready?;
            }
            match accept_now(&self.listener) {
                Err(Errno::AGAIN) => self.wait = Some(ready(&self.listener, Readiness::Readable)),
                other => return Poll::Ready(other),
            }
        }
    }

    /// Stops waiting until the next call of `accept`; connections stay in the kernel's queue.
    pub fn pause(&mut self) {
        self.wait = None;
    }
}

fn accept_now(listener: &Socket) -> Result<Socket, Errno> {
    fault::of_plain_call(Kind::Accept)?;
    loop {
        // SAFETY: the listener is open for the length of the call; null asks for no peer address.
        let fd = unsafe {
            libc::accept4(listener.raw(), std::ptr::null_mut(), std::ptr::null_mut(), libc::SOCK_CLOEXEC)
        };
        match Errno::check(Errno::of_call(i64::from(fd))) {
            // The client has given up while it waited.
            Err(Errno(libc::ECONNABORTED) | Errno::INTR) => {}
            Err(error) => return Err(error),
            // SAFETY: the kernel has just made this descriptor, nothing else owns it.
            Ok(_) => return Ok(Socket(Rc::new(unsafe { OwnedFd::from_raw_fd(fd) }))),
        }
    }
}

/// Waits until a socket is ready.
pub fn ready(socket: &Socket, readiness: Readiness) -> Ready {
    Ready(Flight::new(Op::Poll(PollFor { socket: socket.clone(), readiness }), Identity::SERVER))
}

/// The future of [`ready`].
pub struct Ready(Flight);

impl Future for Ready {
    type Output = Result<(), Errno>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Errno>> {
        Pin::new(&mut self.0).poll(context).map(|(result, _)| Errno::check(result).map(|_| ()))
    }
}

/// Receives what is there with a plain call; EAGAIN when nothing is, zero at the end of the stream.
pub fn receive_now(socket: &Socket, bytes: &mut [u8]) -> Result<usize, Errno> {
    let length = planned_length(Kind::Receive, bytes.len())?;
    loop {
        // SAFETY: `bytes` has room for `length` bytes.
        let result =
            unsafe { libc::recv(socket.raw(), bytes.as_mut_ptr().cast(), length, libc::MSG_DONTWAIT) };
        match Errno::check(Errno::of_call(result as i64)) {
            Err(Errno::INTR) => {}
            other => return other.map(|length| length as usize),
        }
    }
}

/// Receives into `range` of a block until it is filled as asked, the stream ends or `deadline` comes.
///
/// Shape: the bytes received, and the block. At the deadline: what has arrived, or ETIMEDOUT when nothing has.
pub async fn receive(
    socket: &Socket,
    block: BlockMut,
    range: Range<usize>,
    fill: Fill,
    deadline: Moment,
) -> (Result<u32, Errno>, BlockMut) {
    let (result, block, _) = receive_op(socket, block, (range, None), fill, deadline).await;
    (result, block)
}

/// Receives into `range` of a block, and pieces of the stream aside, until all is filled, the stream ends or `deadline`
/// comes.
///
/// Shape: as of [`receive`]; the bytes are those of the stream, as they lie in the order of [`Aside::steps`].
pub async fn receive_around(
    socket: &Socket,
    block: BlockMut,
    range: Range<usize>,
    aside: Box<Aside>,
    deadline: Moment,
) -> (Result<u32, Errno>, BlockMut, Box<Aside>) {
    let mut aside = aside;
    aside.block_bytes = range.len();
    let (result, block, aside) = receive_op(socket, block, (range, Some(aside)), Fill::All, deadline).await;
    (result, block, aside.expect("the operation keeps what it was made with"))
}

async fn receive_op(
    socket: &Socket,
    block: BlockMut,
    (range, aside): (Range<usize>, Option<Box<Aside>>),
    fill: Fill,
    deadline: Moment,
) -> (Result<u32, Errno>, BlockMut, Option<Box<Aside>>) {
    assert!(
        range.start < range.end && range.end <= block.len(),
        "a range lies inside its block and is not empty"
    );
    let aside_bytes = aside.as_ref().map_or(0, |aside| aside.bytes().len());
    let (start, length) = (range.start as u32, (range.len() + aside_bytes) as u32);
    let op = Op::Receive(Receive { socket: socket.clone(), block, start, length, aside, received: 0, fill });
    let mut flight = Flight::new(op, Identity::SERVER);
    let mut timer = time::sleep_until(deadline);
    let (end, is_late) = match time::race(&mut flight, &mut timer).await {
        First::Left(end) => (end, false),
        First::Right(()) => {
            flight.cancel();
            (flight.await, true)
        }
    };
    match end {
        (result, Op::Receive(op)) => match Errno::check(result) {
            Err(Errno::CANCELED) if is_late => (Err(Errno::TIMEDOUT), op.block, op.aside),
            other => (other, op.block, op.aside),
        },
        _ => unreachable!("a flight returns the operation it was made with"),
    }
}

/// Sends slices with a plain call; EAGAIN when there is no room, fewer bytes when there is too little.
pub fn send_now(socket: &Socket, slices: &[IoSlice<'_>], following: Following) -> Result<usize, Errno> {
    planned_length(Kind::Send, 0)?;
    let more = match following {
        Following::More => libc::MSG_MORE,
        Following::Nothing => 0,
    };
    // SAFETY: a msghdr is made of integers and pointers, for which zero is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = slices.as_ptr().cast::<libc::iovec>().cast_mut();
    message.msg_iovlen = slices.len();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | more;
    loop {
        // SAFETY: IoSlice is an iovec by its documentation; the kernel only reads through them.
        let result = unsafe { libc::sendmsg(socket.raw(), &message, flags) };
        match Errno::check(Errno::of_call(result as i64)) {
            Err(Errno::INTR) => {}
            other => return other.map(|length| length as usize),
        }
    }
}

/// Sends from a file with a plain call; the socket must be non-blocking.
///
/// It waits for the disk where pages are not resident, so the caller asks first.
pub fn send_file_now(socket: &Socket, file: &File, offset: u64, length: usize) -> Result<usize, Errno> {
    let length = planned_length(Kind::Send, length)?;
    let mut offset = offset as i64;
    loop {
        // SAFETY: both descriptors are open; the offset lives on this stack frame.
        let result = unsafe { libc::sendfile(socket.raw(), file.raw(), &mut offset, length) };
        match Errno::check(Errno::of_call(result as i64)) {
            Err(Errno::INTR) => {}
            other => return other.map(|length| length as usize),
        }
    }
}

/// How many of `length` bytes a plain call on a socket may move by the plan.
fn planned_length(kind: Kind, length: usize) -> Result<usize, Errno> {
    Ok(fault::of_plain_call(kind)?.map_or(length, |bytes| length.min(bytes as usize)))
}

/// Connects to `address`, for clients.
pub async fn connect(address: SocketAddr) -> Result<Socket, Errno> {
    let socket = Socket(Rc::new(new_socket(address)?));
    // The engine of plain calls begins it before it waits.
    if cores::with(|core| core.engine.name()) == Name::Threads {
        socket.set_mode(Mode::NonBlocking)?;
    }
    let op = Connect { socket: socket.clone(), address: Box::new(encode_address(address)), started: false };
    let (result, _) = Flight::new(Op::Connect(op), Identity::SERVER).await;
    Errno::check(result)?;
    socket.set_mode(Mode::Blocking)?;
    Ok(socket)
}

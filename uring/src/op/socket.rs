//! Operations on sockets: wait for readiness, receive, connect.
//!
//! Sending and accepting are not here: they are plain calls that never block, and wait by `PollFor`. So no
//! memory but a block, what goes aside of it and a socket address is ever lent to the kernel by these.
//! Source: recv(2), poll(2), connect(2).

use io_uring::{opcode, squeue, types};

use crate::arena::BlockMut;
use crate::aside::Aside;
use crate::errno::Errno;
use crate::net::{Fill, Readiness, Socket};
use crate::op::Waits;

/// Waits until a socket is readable or writable.
pub(crate) struct PollFor {
    pub(crate) socket: Socket,
    pub(crate) readiness: Readiness,
}

impl PollFor {
    fn events(&self) -> i16 {
        match self.readiness {
            Readiness::Readable => libc::POLLIN | libc::POLLRDHUP,
            Readiness::Writable => libc::POLLOUT,
        }
    }

    pub(crate) fn waits(&self) -> Waits {
        match self.readiness {
            Readiness::Readable => Waits::Readable,
            Readiness::Writable => Waits::Writable,
        }
    }

    pub(crate) fn entry(&mut self) -> squeue::Entry {
        opcode::PollAdd::new(types::Fd(self.socket.raw()), self.events() as u32).build()
    }

    pub(crate) fn call(&mut self) -> i32 {
        let mut request = libc::pollfd { fd: self.socket.raw(), events: self.events(), revents: 0 };
        // SAFETY: one valid pollfd, no waiting.
        let result = unsafe { libc::poll(&mut request, 1, 0) };
        match Errno::of_call(i64::from(result)) {
            0 => -libc::EAGAIN,
            ready if ready > 0 => i32::from(request.revents),
            error => error,
        }
    }
}

/// Receives into a block.
pub(crate) struct Receive {
    pub(crate) socket: Socket,
    pub(crate) block: BlockMut,
    pub(crate) start: u32,
    // Bytes of the stream, those that go aside included.
    pub(crate) length: u32,
    pub(crate) aside: Option<Box<Aside>>,
    // Bytes that earlier calls of the same operation brought; the ring keeps this count itself.
    pub(crate) received: u32,
    pub(crate) fill: Fill,
}

impl Receive {
    fn target(&mut self) -> (*mut u8, u32) {
        let start = (self.start + self.received) as usize;
        let end = (self.start + self.length) as usize;
        let target = &mut self.block[start..end];
        (target.as_mut_ptr(), target.len() as u32)
    }

    /// Describes what is still to be received around what goes aside; `None` when nothing does.
    fn header(&mut self) -> Option<*mut libc::msghdr> {
        let aside = self.aside.as_mut()?;
        let block = &mut self.block[self.start as usize..];
        Some(std::ptr::from_mut(aside.describe(block, self.received as usize, self.length as usize)))
    }

    pub(crate) fn entry(&mut self) -> squeue::Entry {
        let flags = match self.fill {
            Fill::Some => 0,
            Fill::All => libc::MSG_WAITALL,
        };
        if let Some(header) = self.header() {
            return opcode::RecvMsg::new(types::Fd(self.socket.raw()), header).flags(flags as u32).build();
        }
        let (pointer, length) = self.target();
        opcode::Recv::new(types::Fd(self.socket.raw()), pointer, length).flags(flags).build()
    }

    /// Receives what is there; `EAGAIN` while the socket is empty or, for `Fill::All`, the range is not full.
    pub(crate) fn call(&mut self) -> i32 {
        loop {
            let result = if let Some(header) = self.header() {
                // SAFETY: the header describes memory of this operation.
                unsafe { libc::recvmsg(self.socket.raw(), header, libc::MSG_DONTWAIT) }
            } else {
                let (pointer, length) = self.target();
                // SAFETY: `target` points into the block this operation owns, `length` bytes of it.
                unsafe { libc::recv(self.socket.raw(), pointer.cast(), length as usize, libc::MSG_DONTWAIT) }
            };
            let result = Errno::of_call(result as i64);
            match Errno::check(result) {
                Err(Errno::INTR) => continue,
                Err(error) if self.received > 0 && error != Errno::AGAIN => return self.received as i32,
                Err(_) => return result,
                Ok(0) => return self.received as i32,
                Ok(bytes) => self.received += bytes,
            }
            if self.fill == Fill::Some || self.received == self.length {
                return self.received as i32;
            }
        }
    }
}

/// Connects a socket.
pub(crate) struct Connect {
    pub(crate) socket: Socket,
    pub(crate) address: Box<(libc::sockaddr_storage, libc::socklen_t)>,
    pub(crate) started: bool,
}

impl Connect {
    pub(crate) fn entry(&mut self) -> squeue::Entry {
        let (storage, length) = &*self.address;
        opcode::Connect::new(types::Fd(self.socket.raw()), std::ptr::from_ref(storage).cast(), *length)
            .build()
    }

    /// Starts the connection; once writable, reads how it ended.
    pub(crate) fn call(&mut self) -> i32 {
        if self.started {
            return self.socket.take_error();
        }
        self.started = true;
        let (storage, length) = &*self.address;
        // SAFETY: the address is `length` valid bytes owned by this operation.
        let result = unsafe { libc::connect(self.socket.raw(), std::ptr::from_ref(storage).cast(), *length) };
        match Errno::of_call(i64::from(result)) {
            error if error == -libc::EINPROGRESS => -libc::EAGAIN,
            result => result,
        }
    }
}

//! The floor of PUT: receive and write, and nothing between. Many connections, one core, one ring.
//!
//! Measures what no server with this disk and this kernel can avoid: a copy out of the socket into a registered
//! block (MSG_WAITALL), `fallocate(mode 0)`, O_DIRECT WRITE_FIXED from the same block while the next one fills,
//! `ftruncate` of the tail. Bodies under --direct-min are written by plain `pwrite` through the page cache.
//! Leaves out: GET, signatures, digests, metadata, atomic overwrite, pipelining, slow clients; open, fallocate, ftruncate
//! and small writes are plain calls that may hold the core, because a punt to io-wq costs more CPU.
//! Source: io_uring(7), open(2) O_DIRECT, fallocate(2). Needs Linux 6.1 and a filesystem with O_DIRECT.

mod arena;
mod completion;
mod options;
mod upload;

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use arena::{Arena, PAGE_BYTES};
use baselines::place;
use baselines::request::{self, Parsed, Request, Verb};
use completion::{Step, done, fd, moved};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use options::{Durability, HEAD_BYTES_MAX, Options};
use upload::Upload;

struct Connection {
    socket: OwnedFd,
    /// Bytes of a head that is not whole yet, at the front of block 0.
    head_bytes: usize,
    upload: Option<Upload>,
    /// Operations in flight; a slot is given away only at 0, so no completion can meet a stranger.
    in_flight_count: u32,
    ended: bool,
}

struct Server {
    listener: TcpListener,
    ring: IoUring,
    arena: Arena,
    root: File,
    connections: Vec<Option<Connection>>,
    options: Options,
}

fn main() -> io::Result<()> {
    let options = Options::checked();
    let listener = options.place.open()?;
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_cqsize(4 * RING_ENTRIES)
        .build(RING_ENTRIES)?;
    ring.submitter().register_ring_fd()?;
    let arena = Arena::new(options.block, options.connections * options.depth)?;
    arena.register(&ring)?;
    let connections = (0..options.connections).map(|_| None).collect();
    let root = options.place.root_directory()?;
    Server { listener, ring, arena, root, connections, options }.serve()
}

impl Server {
    fn serve(&mut self) -> io::Result<()> {
        self.accept();
        place::announce(&self.listener)?;
        let mut completions: Vec<cqueue::Entry> = Vec::with_capacity(RING_ENTRIES as usize);
        loop {
            self.ring.submit_and_wait(1)?;
            completions.extend(self.ring.completion());
            for cqe in completions.drain(..) {
                self.complete(&cqe);
            }
        }
    }

    /// Hands an operation to the ring; all of one turn enter the kernel together.
    fn push(&mut self, entry: squeue::Entry) {
        loop {
            // SAFETY: every entry points into the arena, which is never unmapped, or at constants, and names a
            // descriptor that its connection keeps open until its completion.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            self.ring.submit().expect("a full submission queue can be submitted");
        }
    }

    fn start(&mut self, slot: usize, step: Step, block: usize, entry: squeue::Entry) {
        self.connections[slot].as_mut().expect("an operation belongs to a connection").in_flight_count += 1;
        self.push(entry.user_data(completion::pack(step, block, slot)));
    }

    fn complete(&mut self, cqe: &cqueue::Entry) {
        let result = cqe.result();
        let (step, block, slot) = completion::unpack(cqe.user_data());
        if matches!(step, Step::Accept) {
            if !cqueue::more(cqe.flags()) {
                self.accept();
            }
            return self.accepted(result);
        }
        let connection = self.connections[slot].as_mut().expect("a slot outlives its operations");
        connection.in_flight_count -= 1;
        let outcome = match (connection.ended, step) {
            (true, _) => Ok(()),
            (_, Step::Head) => self.head_received(slot, result),
            (_, Step::Fill) => self.filled(slot, block, result),
            (_, Step::Write) => self.written(slot, block, result),
            (_, Step::SyncFile) => self.file_synced(slot, result),
            (_, Step::SyncName) => done(result, 0).map(|()| self.answer(slot)),
            (_, Step::Answer) => done(result, ANSWER.len()),
            (_, Step::Accept) => unreachable!("accept has no connection"),
        };
        if let Err(error) = outcome {
            self.end(slot, &error);
        }
        self.connections[slot].take_if(|connection| connection.ended && connection.in_flight_count == 0);
    }

    fn accept(&mut self) {
        let accept = opcode::AcceptMulti::new(fd(&self.listener)).build();
        self.push(accept.user_data(completion::pack(Step::Accept, 0, 0)));
    }

    fn accepted(&mut self, result: i32) {
        assert!(result >= 0, "accept: {}", io::Error::from_raw_os_error(-result));
        // SAFETY: the completion of an accept hands over a descriptor that nobody else knows.
        let socket = unsafe { OwnedFd::from_raw_fd(result) };
        let Some(slot) = self.connections.iter().position(Option::is_none) else {
            return; // Over --connections: closed.
        };
        let connection = Connection { socket, head_bytes: 0, upload: None, in_flight_count: 0, ended: false };
        self.connections[slot] = Some(connection);
        self.receive_head(slot);
    }

    /// Stops the receive in flight; the slot is free when the last operation has completed.
    fn end(&mut self, slot: usize, error: &io::Error) {
        let connection = self.connections[slot].as_mut().expect("only a live connection ends");
        if connection.upload.is_some() {
            eprintln!("upload ended: {error}");
        }
        connection.ended = true;
        // SAFETY: shutdown of a descriptor that the connection owns touches no memory.
        unsafe { libc::shutdown(connection.socket.as_raw_fd(), libc::SHUT_RDWR) };
    }

    fn receive_head(&mut self, slot: usize) {
        let (block, connection) = (slot * self.options.depth, self.connections[slot].as_ref());
        let connection = connection.expect("only a live connection receives");
        let address = self.arena.block(block).wrapping_add(connection.head_bytes);
        let length = (HEAD_BYTES_MAX - connection.head_bytes) as u32;
        let recv = opcode::Recv::new(fd(&connection.socket), address, length).ioprio(POLL_FIRST);
        self.start(slot, Step::Head, 0, recv.build());
    }

    fn head_received(&mut self, slot: usize, result: i32) -> io::Result<()> {
        let connection = self.connections[slot].as_mut().expect("a head belongs to a connection");
        connection.head_bytes += moved(result)?;
        // SAFETY: the one receive into this block has completed, and no upload has begun.
        let block = unsafe { self.arena.bytes(slot * self.options.depth) };
        let Request { verb, path, body_bytes, head_bytes } =
            match request::parse(&block[..connection.head_bytes]) {
                Parsed::Complete(request) => request,
                Parsed::Partial if connection.head_bytes < HEAD_BYTES_MAX => {
                    self.receive_head(slot);
                    return Ok(());
                }
                Parsed::Partial | Parsed::Refused => return Err(io::ErrorKind::InvalidData.into()),
            };
        let early_bytes = connection.head_bytes - head_bytes;
        if verb != Verb::Put || early_bytes as u64 > body_bytes {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut upload = Upload::open(&self.root, path, body_bytes, &self.options)?;
        // The body moves to the front of its block, so that the write is aligned: at most 16 KiB an object.
        block.copy_within(head_bytes..connection.head_bytes, 0);
        upload.filled_bytes = early_bytes as u64;
        connection.head_bytes = 0;
        connection.upload = Some(upload);
        match early_bytes as u64 == body_bytes {
            true => self.write(slot, 0, early_bytes),
            false => self.fill(slot),
        }
    }

    /// Receives into the next block, unless a receive is in flight, the block is still being written, or all is here.
    fn fill(&mut self, slot: usize) -> io::Result<()> {
        let (block_bytes, depth) = (self.options.block, self.options.depth);
        let connection = self.connections[slot].as_mut().expect("a body belongs to a connection");
        let upload = connection.upload.as_mut().expect("only a body fills blocks");
        let block = (upload.filled_bytes / block_bytes as u64) as usize % depth;
        let skipped = upload.filled_bytes as usize % block_bytes;
        let left_bytes = upload.size_bytes - upload.filled_bytes;
        if upload.filling_bytes != 0 || upload.writing & 1 << block != 0 || left_bytes == 0 {
            return Ok(());
        }
        upload.filling_bytes = left_bytes.min((block_bytes - skipped) as u64) as usize;
        let address = self.arena.block(slot * depth + block).wrapping_add(skipped);
        let recv = opcode::Recv::new(fd(&connection.socket), address, upload.filling_bytes as u32)
            .flags(libc::MSG_WAITALL)
            .build();
        self.start(slot, Step::Fill, block, recv);
        Ok(())
    }

    fn filled(&mut self, slot: usize, block: usize, result: i32) -> io::Result<()> {
        let upload = self.upload(slot);
        done(result, upload.filling_bytes)?;
        upload.filled_bytes += upload.filling_bytes as u64;
        upload.filling_bytes = 0;
        let filled_bytes = upload.filled_bytes;
        let length = (filled_bytes - 1) as usize % self.options.block + 1;
        self.write(slot, block, length)
    }

    /// Writes the first `length` bytes of a block, the last that were received, and goes on receiving.
    fn write(&mut self, slot: usize, block: usize, length: usize) -> io::Result<()> {
        let (index, direct_min) = (slot * self.options.depth + block, self.options.direct_min);
        let connection = self.connections[slot].as_mut().expect("a body belongs to a connection");
        let upload = connection.upload.as_mut().expect("only a body is written");
        let offset = upload.filled_bytes - length as u64;
        if upload.size_bytes < direct_min {
            // SAFETY: the receive into this block has completed and the next one has not begun.
            upload.file.write_all_at(&unsafe { self.arena.bytes(index) }[..length], offset)?;
            upload.written_bytes += length as u64;
            return self.go_on(slot);
        }
        upload.writing |= 1 << block;
        // O_DIRECT wants whole pages: what lies behind the tail goes too, and ftruncate cuts it off.
        let padded = length.next_multiple_of(PAGE_BYTES) as u32;
        let write =
            opcode::WriteFixed::new(fd(&upload.file), self.arena.block(index), padded, 0).offset(offset);
        self.start(slot, Step::Write, block, write.build());
        self.fill(slot)
    }

    fn written(&mut self, slot: usize, block: usize, result: i32) -> io::Result<()> {
        let upload = self.upload(slot);
        upload.writing &= !(1 << block);
        upload.written_bytes += moved(result)? as u64;
        self.go_on(slot)
    }

    fn go_on(&mut self, slot: usize) -> io::Result<()> {
        let durability = self.options.durability;
        let upload = self.upload(slot);
        if upload.written_bytes < upload.size_bytes {
            let stalled = upload.filled_bytes == upload.size_bytes && upload.writing == 0;
            return if stalled { Err(io::ErrorKind::WriteZero.into()) } else { self.fill(slot) };
        }
        if upload.written_bytes > upload.size_bytes {
            upload.file.set_len(upload.size_bytes)?;
        }
        if durability == Durability::None {
            self.answer(slot);
        } else {
            let sync = opcode::Fsync::new(fd(&upload.file)).flags(types::FsyncFlags::DATASYNC).build();
            self.start(slot, Step::SyncFile, 0, sync);
        }
        Ok(())
    }

    fn file_synced(&mut self, slot: usize, result: i32) -> io::Result<()> {
        done(result, 0)?;
        let upload = self.upload(slot);
        let Some(directory) = &upload.directory else {
            self.answer(slot);
            return Ok(());
        };
        upload.link(directory)?;
        let sync = opcode::Fsync::new(fd(directory)).build();
        self.start(slot, Step::SyncName, 0, sync);
        Ok(())
    }

    /// Closes the file, answers, and waits for the next head.
    fn answer(&mut self, slot: usize) {
        let connection = self.connections[slot].as_mut().expect("an answer belongs to a connection");
        connection.upload = None;
        let send = opcode::Send::new(fd(&connection.socket), ANSWER.as_ptr(), ANSWER.len() as u32).build();
        self.start(slot, Step::Answer, 0, send);
        self.receive_head(slot);
    }

    fn upload(&mut self, slot: usize) -> &mut Upload {
        let connection = self.connections[slot].as_mut().expect("a body belongs to a connection");
        connection.upload.as_mut().expect("a step of a body has a body")
    }
}

const RING_ENTRIES: u32 = 256;
/// IORING_RECVSEND_POLL_FIRST: the next request is not there yet, so trying first is a wasted call.
const POLL_FIRST: u16 = 1;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

//! Sending bytes: slices, and ranges of files by the cheapest way there is for them.
//!
//! A small resident file goes out with its head in one call. A large one goes by `sendfile` as far as its pages are
//! resident; what is not is read through the engine into blocks, so that no core waits for a disk. A file that shrinks
//! under way ends the connection: it is never padded.
//! Source: sendfile(2), cachestat(2), preadv2(2) RWF_NOWAIT.

use std::io::IoSlice;

use uring::arena::{self, BlockMut, BlockSize};
use uring::errno::Errno;
use uring::file::{self, File};
use uring::net::{self, Following, Mode, Readiness, Socket};
use uring::time::{self, Moment};

use crate::fs::mount::Attributes;
use crate::ops::flow::held_at_most;
use crate::ops::pace::{Pace, Verdict, Watch};
use crate::ops::response::FileBody;
use crate::server::core_state::{CoreState, SCRATCH_BYTES};

/// How sending has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything was given to the kernel.
    Whole,
    /// The connection is of no more use.
    Broken,
}

/// One `sendfile` call: large enough to cost nothing a byte, small enough that other connections get their turn.
const PIECE_BYTES: u64 = 1 << 20;

/// What is counted as resident: the smallest page there is.
const PAGE_BYTES: u64 = 4096;

/// Waits for room in the socket; broken when the client is too slow or gone.
async fn room(watch: &mut Watch, socket: &Socket) -> End {
    loop {
        let began = time::now();
        let ready = time::before(watch.deadline(began), net::ready(socket, Readiness::Writable)).await;
        match (ready, watch.waited(began, time::now())) {
            (Some(Ok(())), Verdict::InTime) => return End::Whole,
            (None, Verdict::InTime) => {}
            (Some(Err(_)), _) | (Some(Ok(())) | None, Verdict::TooSlow) => return End::Broken,
        }
    }
}

/// Sends slices whole.
pub async fn all(socket: &Socket, slices: &[IoSlice<'_>], pace: Pace) -> End {
    let total: usize = slices.iter().map(|slice| slice.len()).sum();
    match net::send_now(socket, slices, Following::Nothing) {
        Ok(sent) if sent == total => End::Whole,
        Ok(sent) => rest(socket, slices, sent, Following::Nothing, &mut Watch::new(pace)).await,
        Err(Errno::AGAIN) => rest(socket, slices, 0, Following::Nothing, &mut Watch::new(pace)).await,
        Err(_) => End::Broken,
    }
}

/// Sends what is left of slices after `sent` bytes of them.
async fn rest(
    socket: &Socket,
    slices: &[IoSlice<'_>],
    mut sent: usize,
    following: Following,
    watch: &mut Watch,
) -> End {
    for slice in slices {
        if sent >= slice.len() {
            sent -= slice.len();
            continue;
        }
        let mut left = &slice[sent..];
        sent = 0;
        while !left.is_empty() {
            match net::send_now(socket, &[IoSlice::new(left)], following) {
                Ok(count) => {
                    watch.moved(count as u64);
                    left = &left[count..];
                }
                Err(Errno::AGAIN) if room(watch, socket).await == End::Whole => {}
                Err(_) => return End::Broken,
            }
        }
    }
    End::Whole
}

/// Sends a response head and a range of a file; returns the body's bytes given to the kernel.
pub async fn file(core: &CoreState, socket: &Socket, head: &[u8], body: FileBody, pace: Pace) -> (End, u64) {
    let is_small = body.length_bytes <= SCRATCH_BYTES as u64;
    if is_small
        && body.attributes == Attributes::Local
        && let Some(end) = with_head(core, socket, head, &body, pace).await
    {
        return end;
    }
    let mut watch = Watch::new(pace);
    // With nothing to follow, the kernel would wait in vain for more.
    let following = if body.length_bytes > 0 { Following::More } else { Following::Nothing };
    if !head.is_empty() && rest(socket, &[IoSlice::new(head)], 0, following, &mut watch).await == End::Broken
    {
        return (End::Broken, 0);
    }
    let mut transfer = Transfer { socket, body: &body, sent: 0, watch };
    let end = transfer.run().await;
    (end, transfer.sent)
}

/// Sends head and body in one call when the body is resident; `None` when nothing was sent.
async fn with_head(
    core: &CoreState,
    socket: &Socket,
    head: &[u8],
    body: &FileBody,
    pace: Pace,
) -> Option<(End, u64)> {
    let length = body.length_bytes as usize;
    let unsent = {
        let mut scratch = core.scratch.borrow_mut();
        let bytes = &mut scratch[..length];
        if length > 0 && file::read_resident(&body.file, bytes, body.offset_bytes) != Ok(length) {
            return None;
        }
        let sent = match net::send_now(socket, &[IoSlice::new(head), IoSlice::new(bytes)], Following::Nothing)
        {
            Ok(sent) => sent,
            Err(Errno::AGAIN) => 0,
            Err(_) => return Some((End::Broken, 0)),
        };
        if sent == head.len() + length {
            return Some((End::Whole, length as u64));
        }
        // The scratch memory must not be held across a wait, so what the socket had no room for is copied.
        head.iter().chain(bytes.iter()).skip(sent).copied().collect::<Vec<u8>>()
    };
    let end = rest(socket, &[IoSlice::new(&unsent)], 0, Following::Nothing, &mut Watch::new(pace)).await;
    Some((end, length as u64))
}

/// The transfer of one range of a file.
struct Transfer<'a> {
    socket: &'a Socket,
    body: &'a FileBody,
    sent: u64,
    watch: Watch,
}

/// How the next piece goes out.
enum Way {
    /// By `sendfile`, this many bytes.
    Resident(u64),
    /// Through a block.
    Copied,
}

impl Transfer<'_> {
    fn left(&self) -> u64 {
        self.body.length_bytes - self.sent
    }

    async fn run(&mut self) -> End {
        // `sendfile` has no flag against waiting, so the socket's mode says it for the length of the body.
        if self.socket.set_mode(Mode::NonBlocking).is_err() {
            return End::Broken;
        }
        let end = self.pieces().await;
        if self.socket.set_mode(Mode::Blocking).is_err() {
            return End::Broken;
        }
        end
    }

    async fn pieces(&mut self) -> End {
        while self.left() > 0 {
            let end = match self.way() {
                Way::Resident(bytes) => self.send_resident(bytes).await,
                Way::Copied => self.send_copied().await,
            };
            if end == End::Broken {
                return End::Broken;
            }
        }
        End::Whole
    }

    fn way(&self) -> Way {
        let wanted = self.left().min(PIECE_BYTES);
        if self.body.attributes != Attributes::Local {
            return Way::Copied;
        }
        let offset = self.body.offset_bytes + self.sent;
        if is_resident(&self.body.file, offset, wanted) { Way::Resident(wanted) } else { Way::Copied }
    }

    async fn send_resident(&mut self, bytes: u64) -> End {
        let mut left = bytes;
        while left > 0 {
            let offset = self.body.offset_bytes + self.sent;
            match net::send_file_now(self.socket, &self.body.file, offset, left as usize) {
                // The file has shrunk.
                Ok(0) => return End::Broken,
                Ok(count) => {
                    self.sent += count as u64;
                    left -= count as u64;
                    self.watch.moved(count as u64);
                }
                Err(Errno::AGAIN) => {
                    if room(&mut self.watch, self.socket).await == End::Broken {
                        return End::Broken;
                    }
                    // Pages may have gone while the socket was full.
                    return End::Whole;
                }
                Err(_) => return End::Broken,
            }
        }
        // Other connections of the core get their turn between pieces.
        uring::task::yield_now().await;
        End::Whole
    }

    /// Reads a piece through the engine and sends what the client takes of it at once.
    async fn send_copied(&mut self) -> End {
        let Some(block) = self.block().await else { return End::Broken };
        let wanted = self.left().min(block.len() as u64) as usize;
        let offset = self.body.offset_bytes + self.sent;
        let (result, block) = file::read_at(&self.body.file, block, 0..wanted, offset).await;
        let until = time::now().after(held_at_most(block.size()));
        match result {
            Ok(0) | Err(_) => End::Broken,
            Ok(count) => self.send_block(&block[..count as usize], until).await,
        }
    }

    /// Sends from a block until its time is over; what is left then is read again for it, from the page cache.
    async fn send_block(&mut self, mut bytes: &[u8], until: Moment) -> End {
        while !bytes.is_empty() {
            match net::send_now(self.socket, &[IoSlice::new(bytes)], Following::Nothing) {
                Ok(count) => {
                    self.watch.moved(count as u64);
                    self.sent += count as u64;
                    bytes = &bytes[count..];
                }
                Err(Errno::AGAIN) => {
                    let began = time::now();
                    let ready = time::before(until, net::ready(self.socket, Readiness::Writable)).await;
                    match (ready, self.watch.waited(began, time::now())) {
                        (Some(Ok(())), Verdict::InTime) => {}
                        (None, Verdict::InTime) => return End::Whole,
                        (Some(Err(_)), _) | (Some(Ok(())) | None, Verdict::TooSlow) => return End::Broken,
                    }
                }
                Err(_) => return End::Broken,
            }
        }
        End::Whole
    }

    async fn block(&mut self) -> Option<BlockMut> {
        // A client that does not read must not hold a block: there is room in the socket before one is taken.
        if room(&mut self.watch, self.socket).await == End::Broken {
            return None;
        }
        let size =
            if self.left() > BlockSize::Small.bytes() as u64 { BlockSize::Large } else { BlockSize::Small };
        if let Some(mut blocks) = arena::try_acquire(size, 1) {
            return blocks.pop();
        }
        arena::acquire(BlockSize::Small, 1).await.pop()
    }
}

/// Whether all pages of a range are in the page cache, as far as the kernel says.
fn is_resident(file: &File, offset: u64, bytes: u64) -> bool {
    // The count is of whole pages, and the range may begin and end inside one.
    let skipped = offset % PAGE_BYTES;
    let resident = file::resident_bytes(file, offset - skipped, skipped + bytes);
    resident.is_ok_and(|resident| resident >= (skipped + bytes).next_multiple_of(PAGE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    use std::net::SocketAddr;
    use std::time::Duration;
    use uring::cores::{self, Settings};
    use uring::engine;
    use uring::fault::Plan;
    use uring::net::{Acceptor, Listener};

    /// Runs a test on a core of its own with both ends of a connection whose sending end has no room left.
    fn with_full_socket<F: Future<Output = ()>>(test: impl FnOnce(Socket, Socket) -> F + Copy + 'static) {
        for engine in [engine::Name::IoUring, engine::Name::Threads] {
            if engine == engine::Name::IoUring && engine::choose(engine::Choice::IoUring).is_err() {
                eprintln!("SKIPPED on io_uring: refused here");
                continue;
            }
            let cpus =
                uring::affinity::allowed().expect("the scheduler answers").into_iter().take(1).collect();
            let (arena_bytes, pool_threads_max, faults) = (4 << 20, 1, Plan::default());
            let settings = Settings { cpus, engine, arena_bytes, pool_threads_max, faults };
            let main = async move {
                let listener = Listener::open(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
                let address = listener.address();
                let mut acceptor = Acceptor::new(listener).expect("a listener");
                let client = net::connect(address).await.expect("connected");
                let server = acceptor.accept().await.expect("accepted");
                let bytes = vec![0; PIECE_BYTES as usize];
                while net::send_now(&server, &[IoSlice::new(&bytes)], Following::Nothing).is_ok() {}
                test(server, client).await;
            };
            cores::block_on(&settings, main).expect("a core");
        }
    }

    #[test]
    fn a_range_that_begins_inside_a_page_ends_in_one_more() {
        let file = tempfile::NamedTempFile::new().expect("there is room for a test");
        let open = file.as_file();
        open.write_all_at(&[7; 3 * PAGE_BYTES as usize], 0).expect("written");
        open.sync_all().expect("flushed");
        for advice in [PosixFadviseAdvice::POSIX_FADV_DONTNEED, PosixFadviseAdvice::POSIX_FADV_RANDOM] {
            posix_fadvise(open, 0, 0, advice).expect("it is only advice");
        }
        open.read_exact_at(&mut [0], 0).expect("the first page is read");
        let cpus = uring::affinity::allowed().expect("the scheduler answers").into_iter().take(1).collect();
        let (engine, arena_bytes, faults) = (engine::Name::Threads, 4 << 20, Plan::default());
        let settings = Settings { cpus, engine, arena_bytes, pool_threads_max: 1, faults };
        let path = file.path().to_owned();
        let main = async move {
            let file = file::open_at_start(&path, libc::O_RDONLY).expect("it is there");
            if file::resident_bytes(&file, 0, 3 * PAGE_BYTES) != Ok(PAGE_BYTES) {
                eprintln!("SKIPPED server::send::resident: not only the page that was read is in memory");
                return;
            }
            for (offset, bytes, want) in
                [(0, 4096, true), (1, 4095, true), (1, 4096, false), (0, 4097, false), (4095, 2, false)]
            {
                assert_eq!(is_resident(&file, offset, bytes), want, "{bytes} bytes from {offset}");
            }
        };
        cores::block_on(&settings, main).expect("a core");
    }

    const WINDOW: Duration = Duration::from_millis(5);

    #[test]
    fn a_client_that_may_stall_leaves_the_core_to_others() {
        with_full_socket(async |server, client| {
            let mut watch = Watch::new(Pace { bytes_per_s_min: 0, window: WINDOW });
            let mut room = std::pin::pin!(room(&mut watch, &server));
            let mut others = time::sleep(10 * WINDOW);
            assert!(matches!(time::race(&mut room, &mut others).await, time::First::Right(())));
            client.shutdown();
            drop(client);
            let _ = room.await;
        });
    }

    #[test]
    fn a_client_that_stalls_behind_a_good_start_is_judged_by_the_next_window() {
        with_full_socket(async |server, client| {
            let mut watch = Watch::new(Pace { bytes_per_s_min: 1, window: WINDOW });
            watch.moved(1 << 20);
            assert_eq!(room(&mut watch, &server).await, End::Broken);
            drop(client);
        });
    }
}

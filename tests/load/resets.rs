//! Connections that are reset while the server receives from them, writes for them and sends to them.
//!
//! A reset drops futures whose operations the kernel still runs. A block that came back before its completion would be
//! written late: poison shows that in a free block, and other clients' bytes show it in one that was lent again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ringway::server::setting::EngineChoice;
use uring::cores;

use crate::fixture::{Fixture, on_both_engines, settled};
use crate::request::Request;

const SHORT: usize = 2_000;
const LONG: usize = 100_000;
const CLIENTS: usize = 8;
/// What a client announces; it never sends all of it.
const ANNOUNCED_BYTES: usize = 4 << 20;
/// What is read is more than both ends of a connection hold.
const LARGE_BYTES: u64 = 64 << 20;
/// The object that is put and got again and again by the witness.
const WITNESS_BYTES: usize = 600_000;
/// Bytes sent before the reset: behind the head, inside a small block, at its end, in several, in large ones. Most are
/// small, so that the resets come fast; every seventh has writes of large blocks under way.
const SENT_BYTES: [usize; 7] = [0, 1, 9_000, 16_385, 40_000, 70_000, 900_000];

fn resets_wanted() -> usize {
    if std::env::var("RINGWAY_LOAD").is_ok_and(|form| form == "soak") { LONG } else { SHORT }
}

/// Bytes that differ from place to place and from `seed` to `seed`.
fn content(seed: usize, length: usize) -> Vec<u8> {
    let mut state = seed as u64 ^ 0x9E37_79B9_7F4A_7C15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::repeat_with(|| next().to_le_bytes()).flatten().take(length).collect()
}

/// Closes a connection so that the other side gets RST, whatever is still under way.
fn reset(stream: &TcpStream) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::Linger, &linger)
        .expect("a socket option");
}

/// One connection that is reset in the middle of a PUT's body or, each eighth time, of a GET's.
fn begin_and_reset(address: SocketAddr, put: &[u8], get: &[u8], body: &[u8], turn: usize) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let is_get = turn % 8 == 7;
    stream.write_all(if is_get { get } else { put }).expect("the server takes what is sent");
    // `100 Continue`, or the head of the response: the server is in the middle of it.
    let mut answer = [0; 16];
    stream.read_exact(&mut answer).expect("an answer begins");
    if !is_get {
        assert_eq!(&answer, b"HTTP/1.1 100 Con");
        stream
            .write_all(&body[..SENT_BYTES[turn % SENT_BYTES.len()]])
            .expect("the server takes what is sent");
    }
    match turn % 3 {
        // Before the server has seen the bytes, while it does something with them, and while it waits for more.
        0 => {}
        1 => thread::yield_now(),
        _ => thread::sleep(Duration::from_micros((turn % 1_000) as u64)),
    }
    reset(&stream);
}

/// Puts and gets as any client does, as long as the others are at it; returns how often.
fn witness(server: &Fixture, is_over: &AtomicBool) -> usize {
    let mut rounds = 0;
    while !is_over.load(Ordering::Relaxed) {
        let bytes = content(rounds, WITNESS_BYTES - rounds % 5_000);
        server.put("witness", &bytes);
        assert!(server.get("witness").body == bytes, "round {rounds}: other bytes came back");
        assert!(
            std::fs::read(server.path("witness")).expect("a file") == bytes,
            "round {rounds}: other bytes on disk"
        );
        rounds += 1;
    }
    rounds
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("proc is mounted").count()
}

fn check(engine: EngineChoice) {
    let server = Fixture::start(engine);
    // Twice: an overwrite opens the table of temporary names, which stays open.
    for seed in 0..2 {
        server.put("read", &content(seed, WITNESS_BYTES));
    }
    let in_use = |server: &Fixture| server.on_core(|| cores::counters().slots_in_use.read());
    let large = std::fs::File::create(server.path("large")).expect("a new file");
    large.set_len(LARGE_BYTES).expect("a sparse file");
    let put = Request::put("reset").header("content-length", &ANNOUNCED_BYTES.to_string());
    let put = put.header("expect", "100-continue").signed();
    let get = Request::get("large").signed();
    let body = content(2, SENT_BYTES.into_iter().max().unwrap_or(0));
    server.let_core_turn();
    let (slots_before, descriptors_before) = (in_use(&server), descriptors());
    let files_before = server.open_files();
    let (wanted, next, is_over) = (resets_wanted(), AtomicUsize::new(0), AtomicBool::new(false));
    let rounds = thread::scope(|scope| {
        let witness = scope.spawn(|| witness(&server, &is_over));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let turn = next.fetch_add(1, Ordering::Relaxed);
                        if turn >= wanted {
                            return;
                        }
                        begin_and_reset(server.address, &put.head, &get.head, &body, turn);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = clients.into_iter().map(thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "a client failed");
        witness.join().expect("the witness got back what it put")
    });
    server.expect_blocks_back("after the resets");
    assert!(settled(|| server.open_files() == files_before), "{:?}", server.open_files());
    assert!(settled(|| descriptors() <= descriptors_before), "{} of {descriptors_before}", descriptors());
    assert!(settled(|| in_use(&server) <= slots_before), "{} of {slots_before}", in_use(&server));
    assert_eq!(server.on_core(|| cores::counters().task_panics.read()), 0, "a task has panicked");
    assert_eq!(server.temporary_names(), Vec::<std::path::PathBuf>::new());
    assert!(!server.path("reset").exists(), "a body that was cut has become an object");
    eprintln!("{engine:?}: {wanted} resets, {rounds} rounds of the witness, all blocks and descriptors back");
}

#[test]
fn no_block_is_lent_again_before_its_completion() {
    on_both_engines(check);
}

//! What one connection may take of a core: requests that come without a pause.
//!
//! Nothing is measured here: the one who asks in between is answered before the others are through, or is not.
//! Source: ARCHITECTURE.md, "Operations and engines".

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::fixture::{Fixture, on_both_engines, settled};
use crate::request::Request;

const HEADS: usize = 50_000;

#[test]
fn requests_without_a_pause_leave_the_core_to_others() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        fixture.put("k", b"1");
        let mut greedy = TcpStream::connect(fixture.address).expect("the server listens");
        let mut sender = greedy.try_clone().expect("a second descriptor");
        // Answered without a wait: there is no such request.
        let sending =
            thread::spawn(move || sender.write_all(&b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(HEADS)));
        let answered = Arc::new(AtomicUsize::new(0));
        let counted = answered.clone();
        let reading = thread::spawn(move || {
            let (mut bytes, mut tail) = (vec![0; 1 << 16], Vec::new());
            while counted.load(Ordering::Relaxed) < HEADS {
                let count = greedy.read(&mut bytes).expect("the connection stays");
                assert!(count > 0, "the server goes on");
                tail.extend_from_slice(&bytes[..count]);
                let ends = tail.windows(4).filter(|window| window == b"\r\n\r\n").count();
                counted.fetch_add(ends, Ordering::Relaxed);
                // They may begin the end of a head, and are too few to be one that was counted.
                tail.drain(..tail.len().saturating_sub(3));
            }
        });
        assert!(settled(|| answered.load(Ordering::Relaxed) > 0), "the first is answered");
        fixture.send(Request::get("k")).expect_status("in between", 200);
        let before = answered.load(Ordering::Relaxed);
        sending.join().expect("no panic").expect("all are taken");
        reading.join().expect("all are answered");
        assert!(before < HEADS, "{engine:?}: who came in between was served last");
    });
}

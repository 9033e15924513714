//! Sockets: accepting, receiving with and without a deadline, waiting for readiness.
//!
//! Each test runs once an engine, like all of this program.
//! It looks at nothing but what arrives and what it costs others.

use super::*;

#[test]
fn bytes_cross_a_socket() {
    on_both_engines("socket", |_| async move {
        let listener = Listener::open("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        let mut acceptor = Acceptor::new(listener).unwrap();
        task::spawn(async move {
            let client = net::connect(address).await.unwrap();
            net::send_now(&client, &[std::io::IoSlice::new(b"first ")], Following::Nothing).unwrap();
            time::sleep(Duration::from_millis(20)).await;
            net::send_now(&client, &[std::io::IoSlice::new(b"second")], Following::Nothing).unwrap();
            let mut answer = [0; 8];
            net::ready(&client, Readiness::Readable).await.unwrap();
            assert_eq!(net::receive_now(&client, &mut answer), Ok(2));
            // The rest of the connection: silence, then the end.
            time::sleep(Duration::from_millis(200)).await;
        });
        let server = acceptor.accept().await.unwrap();
        let block = arena::acquire(BlockSize::Small, 1).await.remove(0);
        let soon = || time::now().after(Duration::from_secs(5));
        let (received, block) = net::receive(&server, block, 0..12, Fill::All, soon()).await;
        assert_eq!((received, &block[..12]), (Ok(12), &b"first second"[..]));
        net::ready(&server, Readiness::Writable).await.unwrap();
        net::send_now(&server, &[std::io::IoSlice::new(b"ok")], Following::Nothing).unwrap();
        let late = time::now().after(Duration::from_millis(30));
        let (received, block) = net::receive(&server, block, 0..12, Fill::Some, late).await;
        assert_eq!(received, Err(Errno::TIMEDOUT));
        let (received, _) = net::receive(&server, block, 0..12, Fill::Some, soon()).await;
        assert_eq!(received, Ok(0));
    });
}

#[test]
fn a_fast_peer_does_not_keep_the_core() {
    on_both_engines("fast", |_| async move {
        let (client, server) = connected().await;
        let others_ran = Rc::new(Cell::new(false));
        let flag = others_ran.clone();
        task::spawn(async move { flag.set(true) });
        let mut block = arena::acquire(BlockSize::Small, 1).await.remove(0);
        let far = time::now().after(Duration::from_secs(60));
        for _ in 0..1000 {
            net::send_now(&client, &[std::io::IoSlice::new(b"x")], Following::Nothing).unwrap();
            // The byte is there, so the engine of plain calls could end this at once.
            net::ready(&server, Readiness::Readable).await.unwrap();
            let (received, same) = net::receive(&server, block, 0..1, Fill::Some, far).await;
            assert_eq!(received, Ok(1));
            block = same;
        }
        assert!(others_ran.get(), "a thousand receives let no other task run");
    });
}

#[test]
fn several_operations_wait_on_one_socket() {
    on_both_engines("several", |_| async move {
        let (client, server) = connected().await;
        let waits: Vec<_> = (0..3).map(|_| net::ready(&server, Readiness::Readable)).collect();
        drop(net::ready(&server, Readiness::Readable));
        net::send_now(&client, &[std::io::IoSlice::new(b"x")], Following::Nothing).unwrap();
        for wait in waits {
            wait.await.unwrap();
        }
    });
}

#[test]
fn a_deadline_brings_what_has_arrived() {
    on_both_engines("partial", |_| async move {
        let (client, server) = connected().await;
        let mut block = arena::acquire(BlockSize::Small, 1).await.remove(0);
        // The cancellation meets the operation unsubmitted, begun and waiting; no byte is lost in any of them.
        for wait_us in (0..1000).step_by(37) {
            net::send_now(&client, &[std::io::IoSlice::new(b"first ")], Following::Nothing).unwrap();
            let late = |us| time::now().after(Duration::from_micros(us));
            let (received, same) = net::receive(&server, block, 10..100, Fill::All, late(wait_us)).await;
            let (received, same) = match received {
                Err(Errno::TIMEDOUT) => net::receive(&server, same, 10..16, Fill::All, late(5_000_000)).await,
                other => (other, same),
            };
            assert_eq!((received, &same[10..16]), (Ok(6), &b"first "[..]));
            block = same;
        }
    });
}

#[test]
fn pieces_of_a_stream_go_aside() {
    on_both_engines("aside", |_| async move {
        let (client, server) = connected().await;
        let client = Rc::new(client);
        let mut block = arena::acquire(BlockSize::Small, 1).await.remove(0);
        let mut aside = Box::new(Aside::new());
        let far = time::now().after(Duration::from_secs(60));
        let text = b"abc--defgh--ijklm--nopq";
        // Cut after each byte: behind the cut it goes on later, or never before the deadline.
        for (cut, is_late) in (1..text.len()).flat_map(|cut| [(cut, false), (cut, true)]) {
            let send = |client: &net::Socket, bytes: &[u8]| {
                net::send_now(client, &[std::io::IoSlice::new(bytes)], Following::Nothing).unwrap();
            };
            send(&client, &text[..cut]);
            let later = client.clone();
            if !is_late {
                task::spawn(async move {
                    time::sleep(Duration::from_micros(300)).await;
                    send(&later, &text[cut..]);
                });
            }
            aside.expect(3, 5, 2, 3);
            let until = time::now().after(Duration::from_millis(if is_late { 1 } else { 5_000 }));
            let (received, same, back) = net::receive_around(&server, block, 100..117, aside, until).await;
            (block, aside) = (same, back);
            let received = received.unwrap() as usize;
            assert_eq!(received, if is_late { cut } else { text.len() });
            let in_order: Vec<u8> = aside
                .steps()
                .flat_map(|(of_block, of_pieces)| {
                    [&block[100..][of_block], &aside.bytes()[of_pieces]].concat()
                })
                .collect();
            assert_eq!(&in_order[..received], &text[..received]);
            if is_late {
                send(&client, &text[cut..]);
                let rest = text.len() - cut;
                let (received, same) = net::receive(&server, block, 0..rest, Fill::All, far).await;
                assert_eq!((received, &same[..rest]), (Ok(rest as u32), &text[cut..]));
                block = same;
            }
        }
        assert_eq!(&block[100..117], b"abcdefghijklmnopq");
    });
}

#[test]
fn a_dropped_receive_keeps_its_block_until_it_is_over() {
    on_both_engines("orphan", |_| async move {
        let listener = Listener::open("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        let mut acceptor = Acceptor::new(listener).unwrap();
        let client = Rc::new(RefCell::new(None));
        let keep = client.clone();
        task::spawn(async move { *keep.borrow_mut() = Some(net::connect(address).await.unwrap()) });
        let server = acceptor.accept().await.unwrap();
        for _ in 0..100 {
            let block = arena::acquire(BlockSize::Small, 1).await.remove(0);
            let far = time::now().after(Duration::from_secs(60));
            let receiving = net::receive(&server, block, 0..100, Fill::All, far);
            // Polled once, then dropped.
            let gone = time::before(time::now(), receiving).await;
            assert!(gone.is_none());
        }
        // All blocks come back; the arena checks its pattern as they are handed out.
        let all = arena::acquire(BlockSize::Small, 64).await;
        assert_eq!(all.len(), 64);
    });
}

#[test]
fn a_paused_acceptor_goes_on_accepting() {
    on_both_engines("pause", |_| async move {
        let listener = Listener::open("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        let mut acceptor = Acceptor::new(listener).unwrap();
        let soon = || time::now().after(Duration::from_millis(20));
        for _ in 0..3 {
            assert!(time::before(soon(), acceptor.accept()).await.is_none());
            acceptor.pause();
            // The cancellation completes while nobody accepts, then while somebody does.
            time::sleep(Duration::from_millis(1)).await;
            assert!(time::before(soon(), acceptor.accept()).await.is_none());
            acceptor.pause();
        }
        let client = net::connect(address).await.unwrap();
        let accepted = acceptor.accept().await.unwrap();
        assert_eq!(accepted.peer_address().unwrap(), client.local_address().unwrap());
    });
}

#[test]
fn what_nobody_asks_for_is_not_accepted() {
    on_both_engines("accept", |_| async move {
        let listener = Listener::open("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        let mut acceptor = Acceptor::new(listener).unwrap();
        let soon = || time::now().after(Duration::from_millis(20));
        assert!(time::before(soon(), acceptor.accept()).await.is_none());
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(net::connect(address).await.unwrap());
        }
        let first = acceptor.accept().await.unwrap();
        let mut others = (0..20).map(|_| first.clone()).collect::<Vec<_>>();
        // The last client's connection stays with the kernel, which resets it when nobody listens any more.
        for other in &mut others[..18] {
            *other = acceptor.accept().await.unwrap();
        }
        time::sleep(Duration::from_millis(1)).await;
        drop(acceptor);
        time::sleep(Duration::from_millis(1)).await;
        let states = clients.iter().map(|client| net::receive_now(client, &mut [0]));
        let refused = states.filter(|state| *state == Err(Errno::CONNRESET)).count();
        assert_eq!(refused, 1);
    });
}

//! Conditional writes under contention: one winner of a race, no increment of a counter lost.
//!
//! Each client is a thread; its requests have connections of their own, since a 412 with a body unread ends one. Long counts and several servers on one tree are a script's.
//! Source: PutObject, `If-None-Match` and `If-Match`.

use std::sync::Barrier;
use std::thread;

use ringway::server::setting::{Durability, EngineChoice};

use crate::connection::Answer;
use crate::fixture::{Fixture, on_both_engines};
use crate::request::Request;

const CLIENTS: usize = 8;
const ROUNDS: usize = 50;

#[test]
fn if_none_match_has_one_winner_of_each_race() {
    on_both_engines(|engine| {
        let fixture = Fixture::start_with(engine, Durability::Data);
        let line = Barrier::new(CLIENTS);
        let race = |client: usize| -> Vec<Answer> {
            let run = |round: usize| {
                let mut connection = fixture.connect();
                let request = Request::put(&format!("race/{round}")).header("if-none-match", "*");
                let signed = request.body(format!("client {client}").as_bytes()).signed();
                line.wait();
                connection.exchange(&signed)
            };
            (0..ROUNDS).map(run).collect()
        };
        let answers: Vec<Vec<Answer>> = thread::scope(|scope| {
            let race = &race;
            let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || race(client))).collect();
            clients.into_iter().map(|client| client.join().expect("no client fails")).collect()
        });
        for round in 0..ROUNDS {
            let name = format!("race {round} on {engine:?}");
            let winners: Vec<usize> =
                (0..CLIENTS).filter(|client| answers[*client][round].status == 200).collect();
            assert_eq!(winners.len(), 1, "{name}");
            let losers = answers.iter().map(|client| &client[round]).filter(|answer| answer.status != 200);
            losers.for_each(|loser| loser.expect_error(&name, 412, "PreconditionFailed"));
            let object = fixture.get(&format!("race/{round}"));
            assert_eq!(object.text(), format!("client {}", winners[0]), "{name}");
        }
    });
}

#[test]
fn if_match_loses_no_increment() {
    on_both_engines(|engine| {
        let fixture = Fixture::start_with(engine, Durability::Data);
        fixture.put("counter", b"0");
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| (0..ROUNDS).for_each(|_| increment(&fixture)));
            }
        });
        assert_eq!(fixture.get("counter").text(), (CLIENTS * ROUNDS).to_string(), "on {engine:?}");
    });
}

/// Adds one to the counter, trying again as long as another client was faster.
fn increment(fixture: &Fixture) {
    loop {
        let read = fixture.get("counter");
        let next = read.text().parse::<usize>().expect("a number") + 1;
        let etag = read.header("etag").expect("an ETag");
        let write = Request::put("counter").header("if-match", etag).body(next.to_string().as_bytes());
        let written = fixture.send(write);
        match written.status {
            200 => return,
            412 => {}
            other => panic!("{other}: {written}"),
        }
    }
}

#[test]
fn if_match_asks_for_an_object() {
    let fixture = Fixture::start(EngineChoice::Auto);
    let tag = fixture.put("there", b"one").header("etag").expect("an ETag").to_owned();
    let with =
        |key: &str, name: &str, value: &str| fixture.send(Request::put(key).header(name, value).body(b"two"));
    with("missing", "if-match", &tag).expect_error("a missing key", 404, "NoSuchKey");
    with("there", "if-match", "\"0123\"").expect_error("another tag", 412, "PreconditionFailed");
    with("there", "if-none-match", "*").expect_error("taken", 412, "PreconditionFailed");
    assert_eq!(fixture.get("there").text(), "one");
    with("there", "if-match", &tag).expect_status("the same tag", 200);
    assert_eq!(fixture.get("there").text(), "two");
}

/// Done in spite of its condition, a write would do what its client has forbidden.
#[test]
fn a_condition_that_nobody_checks_is_refused_by_name() {
    let fixture = Fixture::start(EngineChoice::Auto);
    fixture.put("there", b"one");
    let upload = fixture.begin_upload(Request::of_key("POST", "parts"));
    let document = b"<Delete><Object><Key>there</Key></Object></Delete>";
    let writes = [
        ("CreateBucket", Request::new("PUT", "/second")),
        ("CreateMultipartUpload", Request::of_key("POST", "there").query("uploads", "")),
        ("UploadPart", Request::part("parts", &upload, 1).body(b"part")),
        ("AbortMultipartUpload", Request::delete("parts").query("uploadId", &upload)),
        ("DeleteObjects", Request::of_bucket("POST").query("delete", "").body(document)),
        ("DeleteBucket", Request::of_bucket("DELETE")),
        ("PutObject", Request::put("there").body(b"two")),
        ("DeleteObject", Request::delete("there")),
    ];
    let unheeded = [
        ("if-match", "\"0123\", \"4567\""),
        ("if-none-match", "\"0123\""),
        ("if-modified-since", "Sat, 29 Oct 1994 19:43:31 GMT"),
        ("if-unmodified-since", "Sat, 29 Oct 1994 19:43:31 GMT"),
        ("x-amz-if-match-last-modified-time", "Sat, 29 Oct 1994 19:43:31 GMT"),
        ("x-amz-if-match-size", "3"),
        ("x-amz-copy-source-if-match", "\"0123\""),
    ];
    for (operation, request) in &writes {
        for (header, value) in unheeded {
            let answer = fixture.send(request.clone().header(header, value));
            answer.expect_error(&format!("{operation} with {header}"), 501, "NotImplemented");
            assert!(answer.text().to_lowercase().contains(&format!("<header>{header}</header>")), "{answer}");
        }
    }
    assert!(!fixture.root().join("second").exists());
    assert_eq!(fixture.get("there").text(), "one");
    let list = fixture.send(Request::get("parts").query("uploadId", &upload));
    list.expect_status("the upload is there", 200);
    assert!(!list.text().contains("<Part>"), "{list}");
}

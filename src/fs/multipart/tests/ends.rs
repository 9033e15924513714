//! How uploads end: completed, completed again, aborted, with late parts, across a restart; and what is refused.
//! A refused Complete leaves the upload as it was.
//! Source: CompleteMultipartUpload, AbortMultipartUpload.

use std::time::Duration;

use uring::{file, lock};

use super::*;

#[test]
fn a_completed_upload_answers_again() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let body = body(1, PART);
        let one = server.put(&id, 1, &body).await.unwrap();
        let first = server.complete(&id, std::slice::from_ref(&one)).await.unwrap();
        assert_eq!(first.etag, etag_of(&[&body]));
        let again =
            server.complete_if(&id, std::slice::from_ref(&one), WriteCondition::Absent).await.unwrap();
        assert_eq!(again, first);
        let server = server.restart().await;
        assert_eq!(server.complete(&id, &[one]).await.unwrap(), first);
        assert_eq!(server.put(&id, 2, &body).await.unwrap_err().code(), Code::NoSuchUpload);
        assert_eq!(server.abort(&id).await.unwrap_err().code(), Code::NoSuchUpload);
        server.check_object(&[&body]).await;
        let day_later = time::unix_ns() + 25 * 3600 * 1_000_000_000;
        assert_eq!(sweep::sweep(&server.tree, &server.bucket().await, day_later).await, Ok(1));
    });
}

#[test]
fn what_a_crash_behind_the_tombstone_left_is_swept() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let one = server.put(&id, 1, &body(1, PART)).await.unwrap();
        let (kind, fault) = (Some(OperationKind::Unlink), Fault::Fail(Errno::IO));
        fault::install(vec![Rule { kind, nth: Nth::From(1), fault }]);
        server.complete(&id, std::slice::from_ref(&one)).await.expect("the object is there");
        fault::install(Vec::new());
        assert_ne!(server.left(), [""; 0], "the removal failed");
        let server = server.restart().await;
        assert_eq!(server.left(), [""; 0]);
    });
}

#[test]
fn late_parts_find_no_upload() {
    on_both_engines(|server| async move {
        let body = body(1, PART);
        // Abort while a part is being written in place.
        let id = server.begin().await.unwrap();
        let ended = async || server.abort(&id).await.unwrap();
        let error = server.put_then(&id, 1, &body, ended).await.unwrap_err();
        assert_eq!(error.code(), Code::NoSuchUpload);
        assert_eq!((server.left(), server.names()), (vec![], vec![]));
        // Complete while another is: the file has a writer, so it is not published.
        let id = server.begin().await.unwrap();
        let one = server.put(&id, 1, &body).await.unwrap();
        let file = inode(&server.in_place(&id, 1));
        let ended = async || {
            server.complete(&id, std::slice::from_ref(&one)).await.unwrap();
        };
        let error = server.put_then(&id, 2, &body, ended).await.unwrap_err();
        assert_eq!(error.code(), Code::NoSuchUpload);
        assert_ne!(inode(&server.object()), file);
        server.check_object(&[&body]).await;
    });
}

#[test]
fn aborts_race_with_parts() {
    on_both_engines(|server| async move {
        let server = Rc::new(server);
        for turns in 0..40 {
            let id = server.begin().await.unwrap();
            let (racing, of_part) = (server.clone(), id.clone());
            let outcome = Rc::new(Cell::new(None));
            let report = outcome.clone();
            task::spawn(async move {
                let put = racing.put(&of_part, 1, &body(1, 20_000)).await;
                report.set(Some(put.map_err(|error| error.code()).map(|_| ())));
            });
            for _ in 0..turns {
                task::yield_now().await;
            }
            server.abort(&id).await.unwrap();
            let outcome = loop {
                match outcome.take() {
                    Some(outcome) => break outcome,
                    None => task::yield_now().await,
                }
            };
            assert!(matches!(outcome, Ok(()) | Err(Code::NoSuchUpload)), "{outcome:?}");
        }
        // What a part that lost the race had made goes in a task of its own, or with the next start.
        let server = Rc::into_inner(server).expect("all parts are through").restart().await;
        assert_eq!((server.left(), server.names()), (vec![], vec![]));
    });
}

#[test]
fn uploads_survive_a_restart() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let bodies = [body(1, PART), body(2, PART), body(3, 9)];
        let one = server.put(&id, 1, &bodies[0]).await.unwrap();
        let two = server.put(&id, 2, &bodies[1]).await.unwrap();
        let file = inode(&server.in_place(&id, 1));
        let server = server.restart().await;
        let three = server.put(&id, 3, &bodies[2]).await.unwrap();
        let numbers: Vec<u16> =
            server.upload(&id).await.numbers().await.unwrap().iter().map(|number| number.value()).collect();
        assert_eq!(numbers, [1, 2, 3]);
        // The server that wrote in place is gone, so its file is the object; what came later is copied into it.
        server.check_copied(&id, &[one, two, three], 9).await;
        assert_eq!(inode(&server.object()), file);
        server.check_object(&[&bodies[0], &bodies[1], &bodies[2]]).await;
    });
}

#[test]
fn a_server_that_goes_on_with_an_upload_lives_for_those_that_start() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let (first, second) = (body(1, PART), body(2, PART));
        server.put(&id, 1, &first).await.unwrap();
        // One that has done nothing in the bucket yet, so that its part has a file of its own.
        let other = Server::start(&server.root).await;
        let bucket = server.bucket().await;
        let started = async || {
            inflight::sweep(&server.tree, &bucket).await.unwrap();
            sweep::sweep(&server.tree, &bucket, time::unix_ns()).await.unwrap();
        };
        let one = other.put_then(&id, 1, &second, started).await.unwrap();
        server.complete(&id, &[one]).await.unwrap();
        server.check_object(&[&second]).await;
    });
}

#[test]
fn another_server_that_lives_keeps_its_file() {
    on_both_engines(|server| async move {
        let other = Server::start(&server.root).await;
        let id = server.begin().await.unwrap();
        let body = body(1, PART);
        let one = server.put(&id, 1, &body).await.unwrap();
        let file = inode(&server.in_place(&id, 1));
        other.check_copied(&id, &[one], PART).await;
        assert_ne!(inode(&server.object()), file);
        other.check_object(&[&body]).await;
    });
}

/// Takes the lock that an upload is ended under, as another server does.
fn lock_of(server: &Server) -> (PathBuf, lock::Held) {
    let record = server.left().into_iter().find(|name| name.ends_with("/upload")).unwrap();
    let record = server.root.join(record);
    let opened = file::open_at_start(&record, libc::O_RDWR).unwrap();
    (record, lock::try_lock(&opened).unwrap())
}

const SOON: Duration = Duration::from_millis(5);

#[test]
fn an_upload_that_another_server_ends_is_waited_for_a_little() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let body = body(1, 100);
        let one = server.put(&id, 1, &body).await.unwrap();
        let (_, held) = lock_of(&server);
        let refused = server.complete(&id, std::slice::from_ref(&one)).await;
        assert_eq!(refused.unwrap_err().code(), Code::ServiceUnavailable);
        task::spawn(async move {
            time::sleep(SOON).await;
            drop(held);
        });
        server.complete(&id, &[one]).await.unwrap();
        server.check_object(&[&body]).await;
    });
}

#[test]
fn an_upload_that_another_server_has_ended_meanwhile_is_tried_again() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let one = server.put(&id, 1, &body(1, 100)).await.unwrap();
        let (record, held) = lock_of(&server);
        task::spawn(async move {
            time::sleep(SOON).await;
            std::fs::remove_file(record).unwrap();
            drop(held);
        });
        let refused = server.complete(&id, std::slice::from_ref(&one)).await;
        assert_eq!(refused.unwrap_err().code(), Code::ServiceUnavailable);
        assert_eq!(server.complete(&id, &[one]).await.unwrap_err().code(), Code::NoSuchUpload);
    });
}

#[test]
fn wrong_lists_are_refused_and_the_upload_lives() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let bodies = [body(1, PART), body(2, PART), body(3, 100)];
        let mut list = Vec::new();
        for (body, number) in bodies.iter().zip(1..) {
            list.push(server.put(&id, number, body).await.unwrap());
        }
        let [one, two, three] = [list[0].clone(), list[1].clone(), list[2].clone()];
        let missing = CompletedPart { part_number: number_of(9), ..one.clone() };
        let wrong = CompletedPart { etag: two.etag, ..one.clone() };
        let crc = Checksum::parse(Algorithm::Crc32, "y/Q5Jg==");
        let summed = CompletedPart { checksums: crc.into_iter().collect(), ..one.clone() };
        let foreign = CompletedPart { etag: GivenETag::parse("\"x\""), ..one.clone() };
        let cases: [(&[CompletedPart], Code); 5] = [
            (&[one.clone(), missing], Code::InvalidPart),
            (&[wrong, two.clone()], Code::InvalidPart),
            (&[summed, two.clone()], Code::InvalidPart),
            (&[foreign], Code::InvalidPart),
            (
                &[one.clone(), three.clone(), CompletedPart { part_number: number_of(4), ..two.clone() }],
                Code::InvalidPart,
            ),
        ];
        for (list, want) in cases {
            assert_eq!(server.complete(&id, list).await.unwrap_err().code(), want, "{list:?}");
        }
        let four = server.put(&id, 4, &bodies[1]).await.unwrap();
        let error = server.complete(&id, &[one.clone(), three.clone(), four]).await.unwrap_err();
        assert_eq!(error.code(), Code::EntityTooSmall);
        let elements: Vec<_> = error.elements().iter().map(|(name, _)| *name).collect();
        assert_eq!(elements, ["ProposedSize", "MinSizeAllowed", "PartNumber", "ETag"]);
        let said = Completion { object_bytes: Some(7), ..listed(std::slice::from_ref(&one)) };
        assert_eq!(server.plan(&id, &said).await.err().map(|error| error.code()), Some(Code::InvalidRequest));
        let said = Completion { checksum: crc, ..listed(std::slice::from_ref(&one)) };
        assert_eq!(server.plan(&id, &said).await.err().map(|error| error.code()), Some(Code::BadDigest));
        assert_eq!(server.names(), [""; 0]);
        // A list that leaves parts out makes a new file: those parts may be wanted yet.
        server.check_copied(&id, &[one, three], PART + 100).await;
        server.check_object(&[&bodies[0], &bodies[2]]).await;
    });
}

#[test]
fn conditions_hold_at_the_end() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let body = body(1, PART);
        let one = server.put(&id, 1, &body).await.unwrap();
        std::fs::create_dir_all(server.root.join("bucket/deep/er")).unwrap();
        std::fs::write(server.object(), b"old").unwrap();
        let list = std::slice::from_ref(&one);
        let error = server.complete_if(&id, list, WriteCondition::Absent).await.unwrap_err();
        assert_eq!(error.code(), Code::PreconditionFailed);
        assert_eq!(server.content().unwrap(), b"old");
        std::fs::remove_file(server.object()).unwrap();
        server.complete_if(&id, list, WriteCondition::Absent).await.unwrap();
        server.check_object(&[&body]).await;
    });
}

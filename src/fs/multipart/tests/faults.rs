//! A fault at every step in turn: the object is the old one or the new one, and what was acknowledged is there.
//! A full disk is one operation that fails; a crash is every operation from the nth on failing, the clean-up ones too,
//! followed by a new server on the same directory.
//! Source: the commit recipe of ARCHITECTURE.md.

use super::*;

/// How far apart the faulty steps are: one engine takes every step, the other, if both are there, a sample.
fn stride() -> usize {
    let is_ring = cores::counters().ring_entries.read() > 0;
    if is_ring || engine::choose(Choice::IoUring).is_err() { 1 } else { 7 }
}

/// What the sweep of faults goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Uniform parts: their file becomes the object.
    InPlace,
    /// A repeat besides: it is copied into that file.
    Repeated,
    /// A gap: a new file becomes the object.
    Gap,
}

/// An upload of two parts that can be completed.
async fn completable(server: &Server, shape: Shape, bodies: [&Body; 2]) -> (UploadId, Vec<CompletedPart>) {
    let id = server.begin().await.unwrap();
    let mut list = vec![server.put(&id, 1, bodies[0]).await.unwrap()];
    if shape == Shape::Repeated {
        list = vec![server.put(&id, 1, bodies[0]).await.unwrap()];
    }
    let number = if shape == Shape::Gap { 3 } else { 2 };
    list.push(server.put(&id, number, bodies[1]).await.unwrap());
    (id, list)
}

fn clear(server: &Server) {
    std::fs::remove_dir_all(server.root.join("bucket/deep")).expect("the object was there");
}

#[test]
fn a_full_disk_at_any_step_of_complete_loses_nothing() {
    on_both_engines(|server| async move {
        let (first, last) = (body(1, PART), body(2, 5000));
        let (bodies, whole) = ([&first, &last], joined(&[&first, &last]));
        for shape in [Shape::InPlace, Shape::Repeated, Shape::Gap] {
            let mut failures = 0;
            for nth in (1..).step_by(stride()) {
                let (id, list) = completable(&server, shape, bodies).await;
                std::fs::create_dir_all(server.root.join("bucket/deep/er")).unwrap();
                std::fs::write(server.object(), b"old").unwrap();
                let fault = Fault::Fail(Errno::NOSPC);
                fault::install(vec![Rule { kind: None, nth: Nth::Only(nth), fault }]);
                let outcome = server.complete(&id, &list).await;
                let counted = fault::counted();
                fault::install(Vec::new());
                if outcome.is_err() {
                    failures += 1;
                    let content = server.content().unwrap();
                    assert!(content == b"old" || content == whole, "{shape:?} {nth}: the object is torn");
                }
                server.complete(&id, &list).await.expect("the upload is there or has left a tombstone");
                server.check_object(&bodies).await;
                clear(&server);
                if counted < nth {
                    break;
                }
            }
            assert!(failures > 10 || stride() > 1, "{shape:?}: only {failures} steps could fail");
        }
    });
}

#[test]
fn a_complete_that_failed_late_knows_its_object_again() {
    on_both_engines(|server| async move {
        let (first, last) = (body(1, PART), body(2, 5000));
        let mut late = 0;
        for nth in (1..).step_by(stride()) {
            let (id, list) = completable(&server, Shape::Gap, [&first, &last]).await;
            fault::install(vec![Rule { kind: None, nth: Nth::Only(nth), fault: Fault::Fail(Errno::NOSPC) }]);
            let outcome = server.complete_if(&id, &list, WriteCondition::Absent).await;
            let counted = fault::counted();
            fault::install(Vec::new());
            late += usize::from(outcome.is_err() && server.content().is_some());
            let again = server.complete_if(&id, &list, WriteCondition::Absent).await;
            again.unwrap_or_else(|error| panic!("{nth}: {error:?}"));
            server.check_object(&[&first, &last]).await;
            clear(&server);
            if counted < nth {
                break;
            }
        }
        assert!(late > 0 || stride() > 1, "no step failed after the name was given");
    });
}

#[test]
fn a_part_after_a_complete_that_failed_late_leaves_the_object_alone() {
    on_both_engines(|server| async move {
        let (first, last, other) = (body(1, PART), body(2, 5000), body(3, PART));
        let whole = joined(&[&first, &last]);
        let mut late = 0;
        for nth in (1..).step_by(stride()) {
            let (id, list) = completable(&server, Shape::InPlace, [&first, &last]).await;
            fault::install(vec![Rule { kind: None, nth: Nth::Only(nth), fault: Fault::Fail(Errno::NOSPC) }]);
            let outcome = server.complete(&id, &list).await;
            let counted = fault::counted();
            fault::install(Vec::new());
            if outcome.is_err() && server.content().is_some() {
                late += 1;
                let third = server.put(&id, 3, &other).await;
                assert!(
                    server.content().is_some_and(|content| content == whole),
                    "{nth}: the object changed"
                );
                third.expect("the upload is still there");
            }
            server.complete(&id, &list).await.expect("the upload is there or has left a tombstone");
            server.check_object(&[&first, &last]).await;
            clear(&server);
            if counted < nth {
                break;
            }
        }
        assert!(late > 0 || stride() > 1, "no step failed after the name was given");
    });
}

#[test]
fn a_crash_at_any_step_of_complete_leaves_the_old_object_or_the_new() {
    on_both_engines(|server| async move {
        let mut server = server;
        let (first, last) = (body(1, PART), body(2, 5000));
        let (bodies, whole) = ([&first, &last], joined(&[&first, &last]));
        for shape in [Shape::InPlace, Shape::Repeated, Shape::Gap] {
            let mut published = 0;
            for nth in (1..).step_by(stride()) {
                let (id, list) = completable(&server, shape, bodies).await;
                let fault = Fault::Fail(Errno::IO);
                fault::install(vec![Rule { kind: None, nth: Nth::From(nth), fault }]);
                let outcome = server.complete_if(&id, &list, WriteCondition::Absent).await;
                let counted = fault::counted();
                fault::install(Vec::new());
                server = server.restart().await;
                let content = server.content();
                assert!(content.is_none() || content.as_ref() == Some(&whole), "{shape:?} {nth}: it is torn");
                assert!(outcome.is_err() || content.is_some(), "{shape:?} {nth}: acknowledged and gone");
                published += usize::from(content.is_some() && outcome.is_err());
                let again = server.complete_if(&id, &list, WriteCondition::Absent).await;
                let again = again.unwrap_or_else(|error| panic!("{shape:?} {nth}: {error:?}"));
                assert_eq!(again.etag, etag_of(&bodies));
                server.check_object(&bodies).await;
                clear(&server);
                if counted < nth {
                    break;
                }
            }
            assert!(
                published > 0 || stride() > 1,
                "{shape:?}: no crash came between the name and the answer"
            );
        }
    });
}

#[test]
fn a_fault_at_any_step_of_a_part_harms_no_other() {
    on_both_engines(|server| async move {
        let mut server = server;
        let (first, again) = (body(1, PART), body(2, PART));
        for is_crash in [false, true] {
            for nth in (1..).step_by(stride()) {
                let id = server.begin().await.unwrap();
                let one = server.put(&id, 1, &first).await.unwrap();
                let nth_rule = if is_crash { Nth::From(nth) } else { Nth::Only(nth) };
                fault::install(vec![Rule { kind: None, nth: nth_rule, fault: Fault::Fail(Errno::NOSPC) }]);
                let repeat = server.put(&id, 1, &again).await;
                let other = server.put(&id, 2, &again).await;
                let counted = fault::counted();
                fault::install(Vec::new());
                if is_crash {
                    server = server.restart().await;
                }
                let mut list = Vec::new();
                let found = server.upload(&id).await;
                let record = found.part(number_of(1)).await.unwrap().expect("the first was acknowledged");
                // A crash may have come between the name of the repeat's record and its answer.
                let is_new = record.etag == ETag::of_md5(again.md5);
                assert!(is_new || repeat.is_err(), "{nth}: acknowledged and gone");
                assert!(!is_new || repeat.is_ok() || is_crash, "{nth}: refused and there");
                list.push(CompletedPart { etag: given(record.etag), ..one });
                let kept = if is_new { &again } else { &first };
                let mut bodies: Vec<&Body> = vec![kept];
                if let Ok(other) = other {
                    list.push(other);
                    bodies.push(&again);
                }
                server.complete(&id, &list).await.expect("what was acknowledged is there");
                server.check_object(&bodies).await;
                clear(&server);
                if counted < nth {
                    break;
                }
            }
        }
    });
}

#[test]
fn a_full_disk_at_any_step_of_create_leaves_nothing() {
    on_both_engines(|server| async move {
        // The bucket's own directories stay; they are made once.
        let id = server.begin().await.unwrap();
        server.abort(&id).await.unwrap();
        let mut failures = 0;
        for nth in (1..).step_by(stride()) {
            let fault = Fault::Fail(Errno::NOSPC);
            fault::install(vec![Rule { kind: None, nth: Nth::Only(nth), fault }]);
            let begun = server.begin().await;
            let counted = fault::counted();
            fault::install(Vec::new());
            match begun {
                Ok(id) => server.abort(&id).await.unwrap(),
                Err(_) => failures += 1,
            }
            assert_eq!((server.left(), server.names()), (vec![], vec![]), "{nth}");
            if counted < nth {
                break;
            }
        }
        assert!(failures > 10 || stride() > 1, "only {failures} steps could fail");
    });
}

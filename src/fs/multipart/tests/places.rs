//! Where parts lie, and what Complete makes of them: as they lie, filled up, or copied.
//! The inode of the object tells whether it was made of the upload's own file.
//! Source: UploadPart, CompleteMultipartUpload; the rules of ARCHITECTURE.md, "parts in their final place".

use super::*;

/// Puts parts in the order given and completes with all of them; want: how many bytes were copied.
async fn check_parts(server: &Server, sizes: &[(u64, usize)], want_copied: usize) {
    let id = server.begin().await.unwrap();
    let mut sent: Vec<(u64, Body, CompletedPart)> = Vec::new();
    for (number, size) in sizes {
        let body = body(*number, *size);
        let part = server.put(&id, *number, &body).await.unwrap();
        sent.push((*number, body, part));
    }
    sent.sort_by_key(|(number, ..)| *number);
    let bodies: Vec<&Body> = sent.iter().map(|(_, body, _)| body).collect();
    let list: Vec<CompletedPart> = sent.iter().map(|(_, _, part)| part.clone()).collect();
    server.check_copied(&id, &list, want_copied).await;
    server.check_object(&bodies).await;
}

#[test]
fn parts_of_every_order_and_size() {
    on_both_engines(|server| async move {
        let odd = PART + 4095;
        check_parts(&server, &[(1, PART), (2, PART), (3, 1000)], 0).await;
        check_parts(&server, &[(2, PART), (1, PART), (3, PART)], 0).await;
        check_parts(&server, &[(3, 5000), (1, PART), (2, PART)], 5000).await;
        check_parts(&server, &[(3, PART), (1, 2 * PART), (2, 2 * PART)], PART).await;
        check_parts(&server, &[(7, 10), (2, PART), (5, PART)], 2 * PART + 10).await;
        check_parts(&server, &[(1, PART), (2, PART + 4096), (3, 1)], 2 * PART + 4097).await;
        check_parts(&server, &[(1, odd), (2, odd), (3, odd)], 3 * odd).await;
        check_parts(&server, &[(1, 0)], 0).await;
        check_parts(&server, &[(1, 10)], 10).await;
        check_parts(&server, &[(10_000, PART)], PART).await;
    });
}

#[test]
fn uniform_parts_become_the_object_as_they_lie() {
    on_both_engines(|server| async move {
        std::fs::create_dir_all(server.root.join("bucket/deep/er")).unwrap();
        std::fs::write(server.object(), b"old").unwrap();
        let id = server.begin().await.unwrap();
        let want = inode(&server.in_place(&id, 1));
        let bodies = [body(1, PART), body(2, PART), body(3, 77)];
        let mut list = Vec::new();
        for (body, number) in bodies.iter().zip(1..) {
            list.push(server.put(&id, number, body).await.unwrap());
        }
        assert_eq!(server.content().unwrap(), b"old");
        server.complete(&id, &list).await.unwrap();
        assert_eq!(inode(&server.object()), want);
        server.check_object(&[&bodies[0], &bodies[1], &bodies[2]]).await;
    });
}

#[test]
fn a_repeat_takes_over_when_it_is_whole() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let (first, second, last) = (body(1, PART), body(2, PART), body(3, PART));
        server.put(&id, 1, &first).await.unwrap();
        let two = server.put(&id, 2, &last).await.unwrap();
        for seed in [9, 2] {
            server.put(&id, 1, &body(seed, PART)).await.unwrap();
        }
        let sides = server.left().iter().filter(|name| name.contains("/part-")).count();
        assert_eq!(sides, 1, "the side file of the repeat before is gone");
        let one = CompletedPart {
            part_number: number_of(1),
            etag: given(ETag::of_md5(second.md5)),
            checksums: Vec::new(),
        };
        let want = inode(&server.in_place(&id, 1));
        server.check_copied(&id, &[one, two], PART).await;
        assert_eq!(inode(&server.object()), want, "only the repeat was copied");
        server.check_object(&[&second, &last]).await;
    });
}

/// Fails every operation of a kind from the nth on.
fn failing(kind: OperationKind, nth: u64, errno: Errno) -> Vec<Rule> {
    vec![Rule { kind: Some(kind), nth: Nth::From(nth), fault: Fault::Fail(errno) }]
}

#[test]
fn a_repeat_that_fails_leaves_the_first() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let (body, repeat) = (body(1, PART), body(2, PART));
        let one = server.put(&id, 1, &body).await.unwrap();
        for nth in 1..4 {
            fault::install(failing(OperationKind::Write, nth, Errno::NOSPC));
            let error = server.put(&id, 1, &repeat).await.unwrap_err();
            assert_eq!(error.code(), Code::InsufficientStorage);
        }
        fault::install(Vec::new());
        assert!(!server.left().iter().any(|name| name.contains("/part-")), "{:?}", server.left());
        server.complete(&id, &[one]).await.unwrap();
        server.check_object(&[&body]).await;
    });
}

#[test]
fn a_first_part_that_fails_gives_its_place_back() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let bodies = [body(1, PART), body(2, PART)];
        let one = server.put(&id, 1, &bodies[0]).await.unwrap();
        let file = server.in_place(&id, 1);
        let before = std::fs::metadata(&file).unwrap().blocks();
        fault::install(failing(OperationKind::Write, 3, Errno::NOSPC));
        server.put(&id, 2, &bodies[1]).await.unwrap_err();
        fault::install(Vec::new());
        // But for a block of the tree of its extents, which many make it need.
        let blocks = std::fs::metadata(&file).unwrap().blocks();
        assert!(blocks.abs_diff(before) <= 8, "the space is back: {before} blocks, now {blocks}");
        let two = server.put(&id, 2, &bodies[1]).await.unwrap();
        server.check_copied(&id, &[one, two], 0).await;
        server.check_object(&[&bodies[0], &bodies[1]]).await;
    });
}

#[test]
fn a_part_of_the_same_number_at_the_same_time_goes_beside() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let (first, second) = (body(1, PART), body(2, PART));
        let again = async || {
            server.put(&id, 1, &second).await.unwrap();
        };
        // The second has its record first; the first is recorded last, and so counts.
        let one = server.put_then(&id, 1, &first, again).await.unwrap();
        assert!(!server.left().iter().any(|name| name.contains("/part-")), "the other's file is gone");
        server.complete(&id, &[one]).await.unwrap();
        server.check_object(&[&first]).await;
    });
}

#[test]
fn a_directory_that_came_between_gives_its_group() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let body = body(1, PART);
        let one = server.put(&id, 1, &body).await.unwrap();
        let parent = server.root.join("bucket/deep/er");
        std::fs::create_dir_all(&parent).unwrap();
        let is_root = std::os::unix::fs::chown(&parent, None, Some(12_345)).is_ok();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o2750);
        std::fs::set_permissions(&parent, mode).unwrap();
        server.complete(&id, &[one]).await.unwrap();
        if is_root {
            assert_eq!(std::fs::metadata(server.object()).unwrap().gid(), 12_345);
        }
        server.check_object(&[&body]).await;
    });
}

#[test]
fn checksums_of_objects() {
    on_both_engines(|server| async move {
        let bodies = [body(1, PART), body(2, 100)];
        for (algorithm, kind) in [
            (Algorithm::Crc64nvme, ChecksumType::FullObject),
            (Algorithm::Crc32, ChecksumType::FullObject),
            (Algorithm::Sha256, ChecksumType::Composite),
        ] {
            let id = server.begin_with(Some((algorithm, kind))).await.unwrap();
            let mut list = Vec::new();
            for (body, number) in bodies.iter().zip(1..) {
                list.push(server.put(&id, number, body).await.unwrap());
            }
            let want = match kind {
                ChecksumType::FullObject => Some(checksum_of(algorithm, &joined(&[&bodies[0], &bodies[1]]))),
                ChecksumType::Composite => {
                    let of_parts: Vec<_> =
                        bodies.iter().map(|body| checksum_of(algorithm, &body.bytes)).collect();
                    Checksum::composite(algorithm, &of_parts)
                }
            };
            assert_eq!(server.complete(&id, &list).await.unwrap().checksum, want);
            let object = reader::open(&server.tree, &bucket_name(), &key_path(), ME).await.unwrap();
            let metadata = object.metadata(&server.tree, &bucket_name(), KEY).await.unwrap();
            assert_eq!(metadata.checksum, want);
        }
    });
}

//! The rules of S3 on POSIX: a test of the name of each rule, from both sides of the tree.
//!
//! What clients upload is looked at as files, and what is done to files is looked at through S3. Rules about hostile
//! things in the tree are in `hostile_trees`, those about keys in `hostile_keys`, races in `conditions`.
//! Source: DESIGN rules as written down in ARCHITECTURE.md, "S3 on POSIX".

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use nix::unistd::geteuid;
use ringway::server::setting::EngineChoice;

use crate::connection::Answer;
use crate::fixture::{BUCKET, Fixture, on_both_engines};
use crate::request::{Coding, Request, etag};

/// A size on each side of the border from which bodies go past the page cache.
const SIZES: [usize; 2] = [5_000, (2 << 20) + 1];

fn conflict(answer: &Answer, name: &str) {
    answer.expect_error(name, 409, "ObjectTypeConflict");
}

#[test]
fn object_is_a_plain_file() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        for size in SIZES {
            let bytes: Vec<u8> = (0..size).map(|index| (index % 253) as u8).collect();
            for coding in [Coding::Sha256, Coding::Signed(8_192), Coding::UnsignedTrailer(70_000)] {
                let put = fixture.send(Request::put("a/file").body(&bytes).coding(coding));
                assert_eq!(put.header("etag"), Some(etag(&bytes).as_str()), "{coding:?}: {put}");
                assert!(fs::read(fixture.path("a/file")).expect("a file") == bytes, "{size}, {coding:?}");
                let metadata = fs::metadata(fixture.path("a/file")).expect("a file");
                assert_eq!((metadata.mode() & 0o7777, metadata.nlink()), (0o640, 1), "{size}, {coding:?}");
                // No space beyond the bytes is kept.
                assert!(metadata.blocks() * 512 < size as u64 + 64 * 1024, "{} blocks", metadata.blocks());
            }
        }
        let parent = fs::metadata(fixture.path("a")).expect("a directory");
        assert_eq!(parent.mode() & 0o7777, 0o750);
    });
}

#[test]
fn posix_file_is_an_object() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        fs::create_dir(fixture.path("made")).expect("a directory");
        fs::write(fixture.path("made/page.html"), b"<p>").expect("a file");
        let object = fixture.get("made/page.html");
        assert_eq!(object.text(), "<p>");
        assert_eq!(object.header("content-type"), Some("text/html"));
        let tag = object.header("etag").expect("an ETag").to_owned();
        assert!(tag.len() == 36 && tag.ends_with("-1\""), "{tag}: no digest of the bytes");
        let list = fixture.send(Request::of_bucket("GET").query("list-type", "2"));
        assert!(list.text().contains("<Key>made/page.html</Key>"), "{list}");
        assert!(list.text().contains(tag.trim_matches('"')), "{list}");
        let same = fixture.send(Request::get("made/page.html").header("if-none-match", &tag));
        same.expect_status("the same", 304);
    });
}

#[test]
fn stale_etag_is_never_served() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let put = fixture.send(Request::put("key").header("x-amz-meta-a", "b").body(b"old bytes"));
        let old = put.header("etag").expect("an ETag").to_owned();
        type Change = fn(&File);
        let changes: [(&str, Change); 3] = [
            ("the same size", |mut file| file.write_all(b"new").expect("written")),
            ("longer", |file| file.set_len(20).expect("resized")),
            ("touched", |file| {
                let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
                file.set_times(FileTimes::new().set_modified(later)).expect("touched");
            }),
        ];
        let mut seen = vec![old.clone()];
        for (name, change) in changes {
            let file = OpenOptions::new().write(true).open(fixture.path("key")).expect("a file");
            change(&file);
            drop(file);
            let head = fixture.send(Request::head("key"));
            let tag = head.header("etag").expect("an ETag").to_owned();
            assert!(tag.ends_with("-1\"") && !seen.contains(&tag), "{name} on {engine:?}: {tag} in {seen:?}");
            assert_eq!(head.header("x-amz-meta-a"), Some("b"), "{name}: what was said of it stays");
            let stale = fixture.send(Request::put("key").header("if-match", &old).body(b"lost"));
            stale.expect_error(name, 412, "PreconditionFailed");
            seen.push(tag);
        }
        // The very bytes of before, written again: the digest would be right, and is not trusted.
        let last = seen.last().expect("tags");
        let put = fixture.send(Request::put("key").header("if-match", last).body(b"old bytes"));
        assert_eq!(put.header("etag"), Some(old.as_str()), "{put}");
    });
}

/// The write comes at once behind the PUT, where a coarse clock would give both the same time.
#[test]
fn one_clock_tick() {
    let fixture = Fixture::start(EngineChoice::Auto);
    for round in 0..200 {
        let key = format!("key-{round}");
        let tag = fixture.put(&key, b"first").header("etag").map(str::to_owned);
        let mut file = OpenOptions::new().write(true).open(fixture.path(&key)).expect("a file");
        file.write_all(b"other").expect("written");
        let head = fixture.send(Request::head(&key));
        assert_ne!(head.header("etag").map(str::to_owned), tag, "round {round}");
    }
}

#[test]
fn overwrite_keeps_readers_of_old_bytes() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let old = vec![b'o'; 24 << 20];
        fixture.put("key", &old);
        fs::hard_link(fixture.path("key"), fixture.path("hard")).expect("a link");
        let mut opened = File::open(fixture.path("key")).expect("a file");
        let signed = Request::get("key").signed();
        let mut reader = fixture.connect();
        reader.write(&signed.head);
        fixture.let_core_turn();
        fixture.put("key", b"new");
        assert_eq!(fixture.get("key").text(), "new");
        let answer = reader.answer_to(&signed.head);
        assert!(answer.status == 200 && answer.body == old, "a GET in flight on {engine:?}");
        let mut bytes = Vec::new();
        opened.read_to_end(&mut bytes).expect("read");
        assert!(bytes == old, "an open file on {engine:?}");
        assert!(fs::read(fixture.path("hard")).expect("a file") == old, "a hard link on {engine:?}");
    });
}

#[test]
fn parents_are_made_and_pruned() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        fs::create_dir(fixture.path("posix")).expect("a directory");
        fixture.put("posix/made/deep/key", b"bytes");
        fixture.put("posix/made/other", b"bytes");
        let delete = |key: &str| fixture.send(Request::delete(key)).expect_status(key, 204);
        delete("posix/made/deep/key");
        assert!(!fixture.path("posix/made/deep").exists(), "made for S3 and empty: gone on {engine:?}");
        assert!(fixture.path("posix/made").exists(), "not empty: kept on {engine:?}");
        delete("posix/made/other");
        assert!(!fixture.path("posix/made").exists(), "empty now: gone on {engine:?}");
        assert!(fixture.path("posix").exists(), "made by POSIX: kept on {engine:?}");
        fixture.send(Request::put("marked/")).expect_status("a directory object", 200);
        fixture.put("marked/key", b"bytes");
        delete("marked/key");
        assert!(fixture.path("marked").exists(), "made by PUT: kept on {engine:?}");
        delete("marked/");
        assert!(!fixture.path("marked").exists(), "deleted on {engine:?}");
        delete("nothing/here");
        assert!(fixture.path("").exists(), "the bucket is no parent");
    });
}

#[test]
fn put_dir_makes_the_directory() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let put = |request: Request| fixture.send(request);
        put(Request::put("dir/").header("x-amz-meta-a", "b")).expect_status("empty", 200);
        put(Request::put("dir/").coding(Coding::Signed(32)))
            .expect_status("again, in chunks of nothing", 200);
        put(Request::put("dir/").header("x-amz-meta-a", "c")).expect_status("again", 200);
        assert!(fixture.path("dir").is_dir());
        let head = fixture.send(Request::head("dir/"));
        assert_eq!((head.status, head.header("content-length")), (200, Some("0")), "{head}");
        assert_eq!(head.header("x-amz-meta-a"), Some("c"), "{head}");
        put(Request::put("full/").body(b"bytes")).expect_error("with a body", 400, "InvalidArgument");
        let chunked = Request::put("full/").body(b"bytes").coding(Coding::UnsignedTrailer(32));
        put(chunked).expect_error("with chunks", 400, "InvalidArgument");
        assert!(!fixture.path("full").exists(), "on {engine:?}");
        fixture.put("dir/key", b"bytes");
        fixture.send(Request::delete("dir/")).expect_status("with a child", 204);
        fixture.send(Request::get("dir/")).expect_error("no object", 404, "NoSuchKey");
        assert_eq!(fixture.get("dir/key").text(), "bytes", "on {engine:?}");
    });
}

#[test]
fn key_and_directory_conflict() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let name = format!("on {engine:?}");
        fixture.put("file", b"bytes");
        fixture.put("dir/key", b"bytes");
        let put = |key: &str| fixture.send(Request::put(key).body(b"other"));
        conflict(&put("dir"), &name);
        conflict(&put("file/below"), &name);
        conflict(&put("file/below/deeper"), &name);
        conflict(&fixture.send(Request::put("file/")), &name);
        conflict(&fixture.send(Request::put("dir").header("if-none-match", "*").body(b"other")), &name);
        for key in ["dir", "file/", "file/below", "dir/"] {
            fixture.send(Request::get(key)).expect_error(key, 404, "NoSuchKey");
            fixture.send(Request::head(key)).expect_status(key, 404);
            fixture.send(Request::delete(key)).expect_status(key, 204);
        }
        assert_eq!(fixture.get("file").text(), "bytes", "{name}");
        assert_eq!(fixture.get("dir/key").text(), "bytes", "{name}");
    });
}

#[test]
fn owner_and_mode_of_the_parent_setgid_group() {
    if !geteuid().is_root() {
        return eprintln!("SKIPPED: only root gives directories to other groups");
    }
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let team = fixture.path("team");
        fs::create_dir(&team).expect("a directory");
        chown(&team, None, Some(12_345)).expect("root may");
        fs::set_permissions(&team, fs::Permissions::from_mode(0o2770)).expect("root may");
        for size in SIZES {
            for _ in ["new", "over the old one"] {
                fixture.put("team/made/object", &vec![b'x'; size]);
                let file = fs::metadata(fixture.path("team/made/object")).expect("a file");
                assert_eq!(file.gid(), 12_345, "{size} on {engine:?}");
                let parent = fs::metadata(fixture.path("team/made")).expect("a directory");
                assert_eq!((parent.gid(), parent.mode() & 0o2000), (12_345, 0o2000), "{size} on {engine:?}");
            }
        }
        fixture.put("team/direct", b"bytes");
        assert_eq!(fs::metadata(fixture.path("team/direct")).expect("a file").gid(), 12_345);
    });
}

/// Runs a tool of the `acl` package; `None` when it is not installed.
fn acl_tool(program: &str, arguments: &[&str], path: &std::path::Path) -> Option<String> {
    let output = Command::new(program).args(arguments).arg(path).output().ok()?;
    assert!(output.status.success(), "{program}: {}", output.stderr.escape_ascii());
    Some(String::from_utf8(output.stdout).expect("ACLs are text"))
}

#[test]
fn default_acl_of_the_parent_is_inherited() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let team = fixture.path("team");
        fs::create_dir(&team).expect("a directory");
        let rules = ["-d", "-m", "u:12345:rw,g:23456:r,m::rw"];
        if acl_tool("setfacl", &rules, &team).is_none() {
            return eprintln!("SKIPPED: setfacl is not installed");
        }
        for size in SIZES {
            for _ in ["new", "over the old one"] {
                fixture.put("team/made/object", &vec![b'x'; size]);
                fixture.put("team/object", &vec![b'x'; size]);
                for key in ["team/object", "team/made/object"] {
                    let acl = acl_tool("getfacl", &["-cnp"], &fixture.path(key)).expect("it is installed");
                    for rule in ["user:12345:rw-", "group:23456:r--"] {
                        assert!(acl.contains(rule), "{key} of {size} on {engine:?}: {acl}");
                    }
                    // As for a file made there: the mode asked for bounds the mask.
                    assert!(acl.contains("mask::r--"), "{key} of {size} on {engine:?}: {acl}");
                }
                let parent = acl_tool("getfacl", &["-cnp"], &fixture.path("team/made")).expect("installed");
                assert!(parent.contains("default:user:12345:rw-"), "{parent}");
            }
        }
    });
}

/// What a key names is a file with the bytes uploaded, whatever the headers or the key say.
#[test]
fn no_upload_makes_a_link_or_a_fifo() {
    let fixture = Fixture::start(EngineChoice::Auto);
    let link = "../../etc/passwd";
    let put = Request::put("link").header("x-amz-meta-mode", "41471").header("x-amz-meta-target", link);
    fixture.send(put.header("content-type", "inode/symlink").body(link.as_bytes())).expect_status("PUT", 200);
    let metadata = fs::symlink_metadata(fixture.path("link")).expect("a file");
    assert!(metadata.is_file() && metadata.mode() & 0o7111 == 0, "{metadata:?}");
    assert_eq!(fixture.get("link").text(), link);
}

#[test]
fn listing_is_in_order_of_whole_keys() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let mut keys = vec!["a", "a-b", "a0", "b/c", "b.d", "b/", "é", "~", "Z"];
        keys.iter().for_each(|key| drop(fixture.send(Request::put(key))));
        keys.sort_unstable();
        for page in ["1", "2", "1000"] {
            let mut listed = Vec::new();
            let mut after = String::new();
            loop {
                let request = Request::of_bucket("GET").query("list-type", "2").query("max-keys", page);
                let list = fixture.send(request.query("start-after", &after));
                let found = list.text().split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
                let found: Vec<String> = found.map(|(key, _)| key.to_owned()).collect();
                let Some(last) = found.last() else { break };
                after.clone_from(last);
                listed.extend(found);
            }
            assert_eq!(listed, keys, "pages of {page} on {engine:?}");
        }
    });
}

#[test]
fn file_in_another_mount_or_bucket_is_not_reached() {
    let fixture = Fixture::start(EngineChoice::Auto);
    fs::create_dir(fixture.root().join("other")).expect("a bucket");
    fs::write(fixture.root().join("other/key"), b"other's").expect("a file");
    fixture.send(Request::get("../other/key")).expect_error("from beside", 404, "NoSuchKey");
    assert_eq!(fixture.send(Request::new("GET", "/other/key")).text(), "other's");
    fs::remove_file(fixture.root().join("other/key")).expect("a file");
    fixture.send(Request::new("DELETE", "/other")).expect_status("an empty bucket", 204);
    assert!(!fixture.root().join("other").exists() && fixture.root().join(BUCKET).exists());
}

//! What else lies in a tree: FIFOs, sockets, devices, links that lead away, names that are no keys, and parents that
//! vanish in the middle of a PUT.
//!
//! None of it is served, none of it hangs a request, and none of it is harmed.
//! Source: DESIGN rules as written down in ARCHITECTURE.md, "S3 on POSIX"; fifo(7), symlink(7).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use ringway::server::setting::EngineChoice;

use crate::fixture::{Fixture, on_both_engines};
use crate::request::{Request, etag};

const SECRET: &[u8] = b"not for this bucket";

/// Makes one thing of each kind that is no object; their keys.
fn make_foreign(fixture: &Fixture) -> Vec<&'static str> {
    let mode = Mode::from_bits_truncate(0o666);
    mkfifo(&fixture.path("fifo"), mode).expect("a FIFO");
    drop(UnixListener::bind(fixture.path("socket")).expect("a socket"));
    let outside = fixture.root().join("outside");
    fs::create_dir(&outside).expect("a directory");
    fs::write(outside.join("secret"), SECRET).expect("a file");
    symlink(outside.join("secret"), fixture.path("link-away")).expect("a link");
    symlink("../outside/secret", fixture.path("link-up")).expect("a link");
    symlink("nothing", fixture.path("link-nowhere")).expect("a link");
    symlink("link-loop", fixture.path("link-loop")).expect("a link");
    let mut keys = vec!["fifo", "socket", "link-away", "link-up", "link-nowhere", "link-loop"];
    // Only root makes devices, and not in every container.
    if mknod(&fixture.path("device"), SFlag::S_IFCHR, mode, makedev(1, 5)).is_ok() {
        keys.push("device");
    }
    keys
}

/// What a path is, without following it.
fn state(path: &Path) -> (u64, u32) {
    let metadata = fs::symlink_metadata(path).expect("it is still there");
    (metadata.ino(), metadata.mode())
}

#[test]
fn fifos_sockets_devices_and_links_are_no_objects() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        for key in make_foreign(&fixture) {
            let name = format!("{key} on {engine:?}");
            let before = state(&fixture.path(key));
            fixture.send(Request::get(key)).expect_error(&name, 404, "NoSuchKey");
            fixture.send(Request::head(key)).expect_status(&name, 404);
            fixture.send(Request::delete(key)).expect_status(&name, 204);
            let put = fixture.send(Request::put(key).body(b"bytes"));
            put.expect_error(&name, 409, "ObjectTypeConflict");
            let below = fixture.send(Request::put(&format!("{key}/below")).body(b"bytes"));
            below.expect_error(&name, 409, "ObjectTypeConflict");
            fixture.send(Request::get(&format!("{key}/below"))).expect_error(&name, 404, "NoSuchKey");
            fixture.send(Request::delete(&format!("{key}/below"))).expect_status(&name, 204);
            assert_eq!(state(&fixture.path(key)), before, "{name}");
        }
        let list = fixture.send(Request::of_bucket("GET").query("list-type", "2"));
        assert!(list.text().contains("<KeyCount>0</KeyCount>"), "on {engine:?}: {list}");
        assert_eq!(fs::read(fixture.root().join("outside/secret")).expect("a file"), SECRET);
        fixture.expect_blocks_back("after foreign files");
    });
}

#[test]
fn a_linked_directory_leads_nowhere() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let outside = fixture.root().join("outside");
        fs::create_dir(&outside).expect("a directory");
        fs::write(outside.join("secret"), SECRET).expect("a file");
        symlink(&outside, fixture.path("away")).expect("a link");
        fixture.put("real/object", b"bytes");
        symlink("real", fixture.path("inside")).expect("a link");
        fixture.send(Request::get("away/secret")).expect_error("a GET", 404, "NoSuchKey");
        fixture.send(Request::delete("away/secret")).expect_status("a DELETE", 204);
        let put = fixture.send(Request::put("away/made").body(b"bytes"));
        put.expect_error("a PUT", 409, "ObjectTypeConflict");
        fixture.send(Request::get("inside/object")).expect_error("inside", 404, "NoSuchKey");
        let list = fixture.send(Request::of_bucket("GET").query("list-type", "2"));
        assert!(list.text().contains("<KeyCount>1</KeyCount>"), "{list}");
        assert_eq!(fs::read_dir(&outside).expect("a directory").count(), 1);
        // A bucket that is a link is no bucket either.
        symlink(&outside, fixture.root().join("linked-bucket")).expect("a link");
        let linked = fixture.send(Request::new("GET", "/linked-bucket/secret"));
        linked.expect_error("a linked bucket", 404, "NoSuchBucket");
    });
}

/// Names that no document could carry are not listed; what can be listed is.
#[test]
fn names_that_are_no_keys_do_not_end_a_listing() {
    let fixture = Fixture::start(EngineChoice::Auto);
    for name in [&b"not\xFFutf8"[..], b"a\x01b", b".ringway-tmp-forged"] {
        fs::write(fixture.path("").join(OsStr::from_bytes(name)), b"bytes").expect("a file");
    }
    fixture.put("z", b"bytes");
    for request in [Request::of_bucket("GET"), Request::of_bucket("GET").query("list-type", "2")] {
        let list = fixture.send(request);
        list.expect_status("a listing", 200);
        assert_eq!(list.text().matches("<Key>").count(), 1, "{list}");
        assert!(list.text().contains("<Key>z</Key>"), "{list}");
    }
}

/// The directory goes when the head is through and before the body is.
#[test]
fn a_parent_removed_during_a_put_is_made_again() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        for size in [5_000, 3 << 20] {
            fs::create_dir_all(fixture.path("one/two")).expect("directories");
            let bytes = vec![b'x'; size];
            let signed = Request::put("one/two/object").body(&bytes).signed();
            let mut connection = fixture.connect();
            connection.write(&signed.head);
            connection.write(&signed.body[..size / 2]);
            fixture.let_core_turn();
            // The server has staged its file when it holds one in the tree.
            let is_staged = crate::fixture::settled(|| {
                fixture.open_files().iter().any(|file| file.to_string_lossy().contains("(deleted)"))
            });
            assert!(is_staged, "{:?} on {engine:?}", fixture.open_files());
            fs::remove_dir(fixture.path("one/two")).expect("nothing is in it");
            fs::remove_dir(fixture.path("one")).expect("nothing is in it");
            connection.write(&signed.body[size / 2..]);
            connection.answer_to(&signed.head).expect_status("the PUT", 200);
            let object = fixture.get("one/two/object");
            assert_eq!(object.header("etag"), Some(etag(&bytes).as_str()), "on {engine:?}");
            assert!(object.body == bytes, "on {engine:?}");
            fixture.send(Request::delete("one/two/object")).expect_status("away", 204);
        }
    });
}

/// Whoever may write the directory puts something under the name while the body is on its way.
#[test]
fn a_foreign_file_that_takes_the_name_during_a_put_is_kept() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let secret = fixture.root().join("secret");
        fs::write(&secret, SECRET).expect("a file");
        for kind in ["fifo", "link", "directory"] {
            let name = format!("{kind} on {engine:?}");
            let signed = Request::put(kind).body(b"two halves").signed();
            let mut connection = fixture.connect();
            connection.write(&signed.head);
            connection.write(&signed.body[..5]);
            fixture.let_core_turn();
            let path = fixture.path(kind);
            match kind {
                "fifo" => mkfifo(&path, Mode::from_bits_truncate(0o666)).expect("a FIFO"),
                "link" => symlink(&secret, &path).expect("a link"),
                _ => fs::create_dir(&path).expect("a directory"),
            }
            let before = state(&path);
            connection.write(&signed.body[5..]);
            connection.answer_to(&signed.head).expect_error(&name, 409, "ObjectTypeConflict");
            assert_eq!(state(&path), before, "{name}");
        }
        assert_eq!(fs::read(&secret).expect("a file"), SECRET);
        let kind = fs::symlink_metadata(fixture.path("fifo")).expect("there").file_type();
        assert!(kind.is_fifo());
        assert!(fixture.temporary_names().is_empty(), "{:?}", fixture.temporary_names());
    });
}

/// A file that loses bytes while it is sent: the connection is cut, never padded.
#[test]
fn file_shrinks_during_get() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        let size = 32 << 20;
        let file = File::create(fixture.path("shrinks")).expect("a file");
        file.set_len(size).expect("a sparse file");
        let signed = Request::get("shrinks").signed();
        let mut connection = fixture.connect();
        connection.write(&signed.head);
        let head = connection.answer_head().expect("a head");
        assert_eq!(head.header("content-length"), Some(size.to_string().as_str()));
        // More is left than sockets hold, so the server has not read it all.
        file.set_len(1 << 20).expect("shorter");
        let rest = connection.read_to_end().map_or(0, |rest| rest.len() as u64);
        assert!(rest < size, "{rest} bytes of {size} on {engine:?}");
        fixture.put("next", b"bytes");
    });
}

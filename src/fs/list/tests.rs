//! Listings of real directories: against a naive model over random keys, and rule by rule.
//! Each listing runs on a core of its own, on both engines; the ring's half is skipped where io_uring is refused.
//! What only another identity could show, a file or directory that may not be opened, is shown by a planned fault.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;
use uring::cores::{self, Settings};
use uring::engine::{self, Choice, Name};
use uring::errno::Errno;
use uring::fault::{self, Fault, Nth, OperationKind, Plan, Rule};
use uring::file;
use uring::identity::Identity;

use super::cursor::Cursor;
use super::*;
use crate::fs::bucket::Bucket;
use crate::fs::inflight::Instance;
use crate::fs::metadata::record::{self, Beside, Record};
use crate::fs::path::KeyKind;
use crate::fs::tree::{Durability, Making, Shared, Tree};
use crate::s3::names::BucketName;

/// A tree with one bucket, `bkt`, as one core has it open.
struct Fixture {
    tree: Rc<Tree>,
    bucket: Bucket,
}

fn engines() -> impl Iterator<Item = Name> {
    [Name::IoUring, Name::Threads]
        .into_iter()
        .filter(|name| *name == Name::Threads || engine::choose(Choice::IoUring).is_ok())
}

/// Runs a body to its end on a core over `root`.
fn on_core<T: 'static, F: Future<Output = T>>(
    root: &Path,
    engine: Name,
    body: impl FnOnce(Fixture) -> F + 'static,
) -> T {
    let cpus = vec![uring::affinity::allowed().unwrap()[0]];
    let settings =
        Settings { cpus, engine, arena_bytes: 1 << 20, pool_threads_max: 2, faults: Plan::default() };
    let (root, result) = (root.to_owned(), Rc::new(RefCell::new(None)));
    let slot = result.clone();
    let run = async move {
        let making = Making { durability: Durability::None, file_mode: 0o640, directory_mode: 0o750 };
        let tree = Tree::open(&root, Arc::new(Shared::new(Instance::new())), making).unwrap();
        tree.probe_root().await.unwrap();
        let name = BucketName::parse("bkt").unwrap();
        let bucket = Bucket::open(&tree, &name, Identity::SERVER).await.unwrap();
        let value = body(Fixture { tree, bucket }).await;
        *slot.borrow_mut() = Some(value);
    };
    cores::block_on(&settings, run).unwrap();
    result.take().expect("the body ran to its end")
}

/// What a test asks for.
#[derive(Clone, Debug)]
struct Ask {
    prefix: String,
    delimiter: Option<String>,
    after: String,
    entries_max: usize,
}

fn ask(prefix: &str, delimiter: &str, after: &str, entries_max: usize) -> Ask {
    let delimiter = Some(delimiter.to_owned()).filter(|text| !text.is_empty());
    Ask { prefix: prefix.to_owned(), delimiter, after: after.to_owned(), entries_max }
}

async fn page(fixture: &Fixture, ask: &Ask) -> Page {
    let listing = Listing { prefix: &ask.prefix, delimiter: ask.delimiter.as_deref(), after: &ask.after };
    let cursor = Cursor::open(&fixture.tree, &fixture.bucket, listing, Identity::SERVER).await.unwrap();
    cursor.page(ask.entries_max).await.unwrap()
}

/// Everything from page to page, keys as they are and common prefixes after a `+`; each page is checked by itself.
async fn walk(fixture: &Fixture, ask: &Ask) -> Vec<String> {
    let mut ask = ask.clone();
    let mut all = Vec::new();
    loop {
        let page = page(fixture, &ask).await;
        let keys = page.objects.iter().map(|object| (object.key.clone(), object.key.clone()));
        let prefixes = page.common_prefixes.iter().map(|prefix| (prefix.clone(), format!("+{prefix}")));
        let mut entries: Vec<(String, String)> = keys.chain(prefixes).collect();
        entries.sort();
        assert!(entries.len() <= ask.entries_max);
        let last = entries.last().map(|(text, _)| text.clone());
        all.extend(entries.into_iter().map(|(_, shown)| shown));
        let Some(next) = page.next else { return all };
        assert_eq!(last.as_ref(), Some(&next), "a page ends with what the next one starts after");
        ask.after = next;
    }
}

fn listed(root: &Path, engine: Name, ask: Ask) -> Vec<String> {
    on_core(root, engine, |fixture| async move { walk(&fixture, &ask).await })
}

/// S3's listing of a set of keys, with no thought for speed.
fn model(keys: &BTreeSet<String>, ask: &Ask) -> Vec<String> {
    let mut shown = BTreeSet::new();
    for key in keys.iter().filter(|key| key.starts_with(&ask.prefix)) {
        let behind = &key[ask.prefix.len()..];
        let group = ask.delimiter.as_ref().and_then(|delimiter| {
            behind.find(delimiter.as_str()).map(|at| &key[..ask.prefix.len() + at + delimiter.len()])
        });
        shown.insert((group.unwrap_or(key).to_owned(), group.is_some()));
    }
    let behind = shown.into_iter().filter(|(text, _)| *text > ask.after);
    behind.map(|(text, is_group)| if is_group { format!("+{text}") } else { text }).collect()
}

fn root() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("bkt")).unwrap();
    root
}

/// Makes the object of a key if the tree can hold it beside those that are there.
fn make(root: &Path, key: &str) -> bool {
    let path = root.join("bkt").join(key);
    if key.ends_with('/') {
        return std::fs::create_dir_all(&path).is_ok() && mark(&path);
    }
    std::fs::create_dir_all(path.parent().unwrap()).is_ok() && std::fs::write(&path, key).is_ok()
}

/// Marks a directory as an object, as a PUT of its key does.
fn mark(directory: &Path) -> bool {
    let record = Record {
        kind: KeyKind::Directory,
        beside: Beside::Nothing,
        content_type: None,
        etag: ETag::of_md5([7; 16]),
        size_bytes: 0,
        mtime_ns: 0,
        checksum: None,
        version_id: None,
    };
    let directory = directory.to_owned();
    let value = record.encode().into_boxed_slice();
    on_core(
        directory.ancestors().find(|path| path.ends_with("bkt")).unwrap().parent().unwrap(),
        Name::Threads,
        {
            let directory = directory.clone();
            |_| async move {
                let opened = file::open_at_start(&directory, libc::O_RDONLY | libc::O_DIRECTORY).unwrap();
                file::set_attribute(&opened, record::XATTR, value, 0, Identity::SERVER).await
            }
        },
    )
    .is_ok()
}

/// Components whose order around `/` matters: `!` and `-` sort before it, `0` and letters behind.
const COMPONENT: &str = "(a|b|a!|a-|a0|ab|é|-|x-y){1,2}";

fn keys() -> impl Strategy<Value = Vec<String>> {
    let key = proptest::collection::vec(COMPONENT, 1..4).prop_map(|components| components.join("/"));
    let directory = key.clone().prop_map(|key| key + "/");
    proptest::collection::vec(prop_oneof![8 => key, 1 => directory], 0..25)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![2 => Just(String::new()), 3 => "(a|b|a-|é|-|x|/|0|!){0,5}", 1 => "(a|b)/(a|b|)/?"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn every_listing_is_the_models(
        keys in keys(),
        empty in proptest::collection::vec(proptest::collection::vec(COMPONENT, 1..4), 0..4),
        asks in proptest::collection::vec(
            (text(), prop_oneof![Just(""), Just("/"), Just("-"), Just("b/"), Just("é")], text(), 1_usize..12),
            8,
        ),
    ) {
        let root = root();
        let made: BTreeSet<String> = keys.into_iter().filter(|key| make(root.path(), key)).collect();
        for components in empty {
            // Where a file is in the way there is one directory fewer.
            let _ = std::fs::create_dir_all(root.path().join("bkt").join(components.join("/")));
        }
        for engine in engines() {
            for (prefix, delimiter, after, entries_max) in &asks {
                let ask = ask(prefix, delimiter, after, *entries_max);
                let want = model(&made, &ask);
                let got = listed(root.path(), engine, ask.clone());
                prop_assert_eq!(got, want, "{:?} of {:?} on {}", ask, &made, engine);
            }
        }
    }
}

fn check(root: &Path, ask: Ask, want: &[&str]) {
    for engine in engines() {
        assert_eq!(listed(root, engine, ask.clone()), want, "{ask:?} on {engine}");
    }
}

#[test]
fn what_is_no_object_is_not_listed() {
    let root = root();
    let bucket = root.path().join("bkt");
    for key in ["a", "d/b", "d/e/c"] {
        assert!(make(root.path(), key));
    }
    for hidden in [".ringway/x", ".ringway-tmp-1", "d/.ringway-tmp-2", "d/e/.ringwayfoo/y"] {
        assert!(make(root.path(), hidden));
    }
    std::fs::create_dir_all(bucket.join("empty/deep/er")).unwrap();
    std::os::unix::fs::symlink(bucket.join("a"), bucket.join("link")).unwrap();
    std::os::unix::fs::symlink(bucket.join("d"), bucket.join("linked")).unwrap();
    nix::unistd::mkfifo(&bucket.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bucket.join("socket")).unwrap();
    for name in [&b"not-utf8-\xff"[..], b"control-\x01"] {
        std::fs::write(bucket.join(OsStr::from_bytes(name)), "").unwrap();
        std::fs::create_dir(bucket.join(OsStr::from_bytes(name)).with_extension("dir")).unwrap();
    }
    check(root.path(), ask("", "", "", 1000), &["a", "d/b", "d/e/c"]);
    let hidden = on_core(root.path(), Name::Threads, |fixture| async move {
        walk(&fixture, &ask("", "", "d", 1000)).await;
        fixture.tree.shared.names_hidden()
    });
    assert_eq!(hidden % 4, 0, "names that are no keys are counted at each reading of their directory");
    assert!(hidden > 0);
    check(root.path(), ask("", "/", "", 1000), &["a", "+d/"]);
    check(root.path(), ask("d/", "/", "", 1000), &["d/b", "+d/e/"]);
    for nothing in
        ["empty/", ".ringway", ".ringway/", "d/.ringway", "linked/", "link", "a/", "d//", "../", "/"]
    {
        check(root.path(), ask(nothing, "", "", 1000), &[]);
    }
}

#[test]
fn a_directory_object_is_a_key_of_size_zero() {
    let root = root();
    for key in ["d/", "d/k", "e/f/", "plain/k"] {
        assert!(make(root.path(), key));
    }
    check(root.path(), ask("", "", "", 1000), &["d/", "d/k", "e/f/", "plain/k"]);
    check(root.path(), ask("", "/", "", 1000), &["+d/", "+e/", "+plain/"]);
    check(root.path(), ask("d/", "/", "", 1000), &["d/", "d/k"]);
    check(root.path(), ask("d/", "/", "d/", 1000), &["d/k"]);
    check(root.path(), ask("e/", "/", "", 1000), &["+e/f/"]);
    let page =
        on_core(
            root.path(),
            Name::Threads,
            |fixture| async move { page(&fixture, &ask("d/", "/", "", 1)).await },
        );
    let object = &page.objects[0];
    assert_eq!((object.key.as_str(), object.size_bytes, object.etag), ("d/", 0, ETag::of_md5([7; 16])));
    assert_eq!(page.next.as_deref(), Some("d/"));
}

#[test]
fn a_page_of_zero_is_the_last() {
    let root = root();
    assert!(make(root.path(), "a"));
    let page =
        on_core(
            root.path(),
            Name::Threads,
            |fixture| async move { page(&fixture, &ask("", "", "", 0)).await },
        );
    assert!(page.objects.is_empty() && page.common_prefixes.is_empty() && page.next.is_none());
}

#[test]
fn a_directory_larger_than_the_window() {
    let root = root();
    let mut keys = BTreeSet::new();
    for number in 0..names::WINDOW * 2 + 100 {
        let key = format!("d/{:04}-{}", number * 7 % 10_000, number % 3);
        std::fs::create_dir_all(root.path().join("bkt/d")).unwrap();
        std::fs::write(root.path().join("bkt").join(&key), "").unwrap();
        keys.insert(key);
    }
    for ask in [
        ask("", "", "", 1000),
        ask("d/", "/", "d/0500", 333),
        ask("", "/", "", 1),
        // One group swallows more than a window.
        ask("", "-", "", 999),
        ask("d", "0", "", 10),
    ] {
        for engine in engines() {
            assert!(listed(root.path(), engine, ask.clone()) == model(&keys, &ask), "{ask:?} on {engine}");
        }
    }
}

#[test]
fn many_empty_directories_beside_an_object() {
    let root = root();
    for number in 0..names::WINDOW + 200 {
        std::fs::create_dir_all(root.path().join(format!("bkt/e{number:05}/x"))).unwrap();
    }
    assert!(make(root.path(), "z/k"));
    check(root.path(), ask("", "/", "", 5), &["+z/"]);
    check(root.path(), ask("", "", "", 5), &["z/k"]);
}

#[test]
fn keys_as_deep_as_a_key_may_be() {
    let root = root();
    let deepest = format!("{}k", "d/".repeat(511));
    assert!(make(root.path(), &deepest));
    // One level more is no key.
    let below = root.path().join("bkt").join("d/".repeat(511)).join("longer-than-a-key");
    std::fs::write(below, "").unwrap();
    check(root.path(), ask("", "", "", 10), &[&deepest]);
    check(root.path(), ask("", "/", "", 10), &["+d/"]);
    check(root.path(), ask(&deepest, "", "", 10), &[&deepest]);
}

#[test]
fn pages_agree_with_what_the_kernel_says() {
    let root = root();
    assert!(make(root.path(), "d/key"));
    let page =
        on_core(
            root.path(),
            Name::Threads,
            |fixture| async move { page(&fixture, &ask("", "", "", 10)).await },
        );
    let metadata = std::fs::metadata(root.path().join("bkt/d/key")).unwrap();
    let modified = metadata.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    let [object] = &page.objects[..] else { panic!("{page:?}") };
    assert_eq!(object.size_bytes, 5);
    assert_eq!(object.modified_ns, modified.as_nanos() as i64);
    assert_eq!(object.etag.part_count(), Some(1), "no PUT made it, so its tag is no MD5");
}

/// On tmpfs and btrfs a scan misses a name that is replaced while it goes on; the directory is then read again.
///
/// The keys are replaced while the second of several reads is held up by the plan.
#[test]
fn a_key_that_is_overwritten_during_the_scan_is_listed() {
    let Ok(root) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("SKIPPED overwriting during a scan: no tmpfs here");
        return;
    };
    let bucket = root.path().join("bkt");
    std::fs::create_dir(&bucket).unwrap();
    // About 3 reads of 64 KiB.
    let keys: BTreeSet<String> = (0..700).map(|n| format!("{n:03}{}", "x".repeat(200))).collect();
    for key in &keys {
        std::fs::write(bucket.join(key), "").unwrap();
    }
    for engine in engines() {
        let (bucket, beside) = (bucket.clone(), root.path().join("beside"));
        let replaced: Vec<String> = keys.iter().step_by(35).cloned().collect();
        std::fs::create_dir_all(&beside).unwrap();
        for key in &replaced {
            std::fs::write(beside.join(key), "new").unwrap();
        }
        let got = on_core(root.path(), engine, move |fixture| async move {
            let kind = Some(OperationKind::ReadDirectory);
            let delay = Fault::Delay(std::time::Duration::from_millis(50));
            fault::install(vec![Rule { kind, nth: Nth::Only(2), fault: delay }]);
            let (begun, done) = (fault::counted(), std::cell::Cell::new(false));
            let listing = async {
                let listed = walk(&fixture, &ask("", "", "", 1000)).await;
                done.set(true);
                listed
            };
            let overwriting = async {
                // Open, stat and one read come before the read that is held up.
                while fault::counted() < begun + 4 && !done.get() {
                    uring::task::yield_now().await;
                }
                // The core waits for this too, so all keys are replaced before the read that is held up.
                let moved = std::process::Command::new("mv")
                    .arg("--target-directory")
                    .arg(&bucket)
                    .args(replaced.iter().map(|key| beside.join(key)))
                    .status();
                assert!(moved.unwrap().success());
                assert!(!done.get(), "the keys were replaced during the listing");
                Vec::new()
            };
            let both: [std::pin::Pin<Box<dyn Future<Output = Vec<String>>>>; 2] =
                [Box::pin(listing), Box::pin(overwriting)];
            crate::fs::together::together(both).await.swap_remove(0)
        });
        let missing: Vec<_> = keys.iter().filter(|key| !got.contains(key)).collect();
        assert!(missing.is_empty(), "{} keys are missing on {engine}", missing.len());
    }
}

/// A filesystem that leaves out what is replaced, played by reads that see nothing at all.
#[test]
fn what_this_server_replaces_during_a_scan_is_listed_whatever_the_scan_sees() {
    for delimiter in ["", "/"] {
        let root = root();
        for key in ["a", "d/b", "z"] {
            assert!(make(root.path(), key));
        }
        let page = on_core(root.path(), Name::Threads, move |fixture| async move {
            let blind =
                Rule { kind: Some(OperationKind::ReadDirectory), nth: Nth::From(1), fault: Fault::Skip };
            fault::install(vec![blind]);
            let fresh = fixture.tree.shared.fresh.clone();
            let inode = fixture.bucket.stat.inode;
            // The last has no object behind it.
            let _renames = [
                fresh.replacing(inode, c"", c"a"),
                fresh.replacing(inode, c"d", c"b"),
                fresh.replacing(inode, c"", c"none"),
            ];
            page(&fixture, &ask("", delimiter, "", 10)).await.objects
        });
        assert_eq!(page.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["a"], "{delimiter:?}");
    }
}

/// Lists `a`, `d/b`, `d/c` with the Nth open after the bucket's failing.
fn with_failing_open(nth: u64, errno: Errno) -> Result<Vec<(String, u64)>, Option<String>> {
    let root = root();
    for key in ["a", "d/b", "d/c"] {
        assert!(make(root.path(), key));
    }
    on_core(root.path(), Name::Threads, move |fixture| async move {
        let kind = Some(OperationKind::Open);
        fault::install(vec![Rule { kind, nth: Nth::Only(nth), fault: Fault::Fail(errno) }]);
        let listing = Listing { prefix: "", delimiter: None, after: "" };
        let opened = Cursor::open(&fixture.tree, &fixture.bucket, listing, Identity::SERVER).await;
        let failed = |error: crate::s3::error::S3Error| Some(error.code().wire().to_owned());
        let page = opened.map_err(failed)?.page(1000).await.map_err(failed)?;
        Ok(page.objects.into_iter().map(|object| (object.key, object.size_bytes)).collect())
    })
}

#[test]
fn what_cannot_be_opened() {
    let listed = |keys: &[(&str, u64)]| Ok(keys.iter().map(|(key, size)| (key.to_string(), *size)).collect());
    // The opens of a page: the bucket's directory, `d`, then the files.
    let failed = |code: &str| Err(Some(code.to_owned()));
    assert_eq!(with_failing_open(1, Errno::ACCES), failed("AccessDenied"));
    assert_eq!(with_failing_open(1, Errno::NOENT), listed(&[]));
    assert_eq!(with_failing_open(2, Errno::NOENT), listed(&[("a", 1)]), "a directory that vanished");
    assert_eq!(with_failing_open(2, Errno::ACCES), listed(&[("a", 1)]), "a directory that may not be read");
    assert_eq!(with_failing_open(4, Errno::NOENT), listed(&[("a", 1), ("d/c", 3)]), "a file that vanished");
    let whole = listed(&[("a", 1), ("d/b", 3), ("d/c", 3)]);
    assert_eq!(with_failing_open(4, Errno::ACCES), whole, "a file that may not be read is listed");
    assert_eq!(with_failing_open(4, Errno::MFILE), failed("SlowDown"));
}

/// One page of `a`, `d/b`, `e/`, an object, and `f/g/`, none, with the Nth operation of a kind saying that what it was about
/// has been removed; none when a page did not come.
fn with_something_removed(kind: OperationKind, nth: u64, delimiter: &'static str) -> Option<Vec<String>> {
    let root = root();
    for key in ["a", "d/b", "e/"] {
        assert!(make(root.path(), key));
    }
    std::fs::create_dir_all(root.path().join("bkt/f/g")).unwrap();
    on_core(root.path(), Name::Threads, move |fixture| async move {
        let fault = Fault::Fail(Errno::NOENT);
        fault::install(vec![Rule { kind: Some(kind), nth: Nth::Only(nth), fault }]);
        let delimiter = Some(delimiter).filter(|text| !text.is_empty());
        let listing = Listing { prefix: "", delimiter, after: "" };
        let page = Cursor::open(&fixture.tree, &fixture.bucket, listing, Identity::SERVER).await.ok()?;
        let page = page.page(1000).await.ok()?;
        Some(page.objects.into_iter().map(|object| object.key).chain(page.common_prefixes).collect())
    })
}

#[test]
fn what_is_removed_during_a_listing_is_left_out() {
    for kind in [OperationKind::ReadDirectory, OperationKind::Stat, OperationKind::GetAttribute] {
        for delimiter in ["", "/"] {
            for nth in 1..=24 {
                let page = with_something_removed(kind, nth, delimiter);
                assert!(page.is_some(), "{kind:?} {nth} {delimiter:?}: an error and not a shorter page");
            }
        }
    }
}

/// The kernel itself says so of a directory that is removed between its opening and the read.
#[test]
fn a_directory_that_is_removed_before_it_is_read_is_empty() {
    for engine in engines() {
        for delimiter in ["", "/"] {
            let root = root();
            for key in ["a", "d/b"] {
                assert!(make(root.path(), key));
            }
            let bucket = root.path().join("bkt");
            // The bucket is read twice, or four times if it is still young.
            let slow = Fault::Delay(std::time::Duration::from_millis(100));
            let rule = Rule { kind: Some(OperationKind::ReadDirectory), nth: Nth::From(3), fault: slow };
            let seen = on_core(root.path(), engine, move |fixture| async move {
                fault::install(vec![rule]);
                let listing = async { walk(&fixture, &ask("", delimiter, "", 10)).await };
                let removing = async {
                    uring::time::sleep(std::time::Duration::from_millis(50)).await;
                    while std::fs::remove_dir_all(bucket.join("d")).is_ok() {}
                    Vec::new()
                };
                let both: [std::pin::Pin<Box<dyn Future<Output = Vec<String>>>>; 2] =
                    [Box::pin(listing), Box::pin(removing)];
                crate::fs::together::together(both).await.swap_remove(0)
            });
            assert_eq!(seen, ["a"], "{engine} {delimiter:?}");
        }
    }
}

/// Levels of a tree that is deeper than any listing may have open.
const DEEP: usize = 200;
/// The levels, the files of one step, the bucket and a little more.
const DESCRIPTORS_MAX: usize = 40;

/// The most descriptors that are open below `root` whenever a future waits, and its output.
async fn with_most_open<T>(root: &Path, future: impl Future<Output = T>) -> (T, usize) {
    let (mut future, mut most) = (std::pin::pin!(future), 0);
    let output = std::future::poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let open = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        most = most.max(open.filter(|target| target.starts_with(root)).count());
        polled
    });
    (output.await, most)
}

#[test]
fn a_deep_tree_takes_few_descriptors() {
    let root = TempDir::new().unwrap();
    // Beside each level stands a file that comes behind it and an empty directory, so every level is come back to.
    let mut path = root.path().join("bkt");
    let mut empty = path.join("z");
    for _ in 0..DEEP {
        path.push("d");
        empty.push("d");
        std::fs::create_dir_all(empty.join("c")).unwrap();
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.with_file_name("e"), b"x").unwrap();
    }
    let want: Vec<_> = (0..DEEP).rev().map(|level| format!("{}e", "d/".repeat(level))).collect();
    for engine in engines() {
        let top = root.path().canonicalize().unwrap();
        let (seen, most) = on_core(root.path(), engine, |fixture| async move {
            with_most_open(&top, walk(&fixture, &ask("", "", "", 1000))).await
        });
        assert!(seen == want, "{engine:?}: {seen:?}");
        assert!(most <= DESCRIPTORS_MAX, "{engine:?}: {most} descriptors");
        let top = root.path().canonicalize().unwrap();
        let (seen, most) = on_core(root.path(), engine, |fixture| async move {
            with_most_open(&top, walk(&fixture, &ask("", "/", "", 1000))).await
        });
        assert_eq!(seen, ["+d/", "e"], "{engine:?}");
        assert!(most <= DESCRIPTORS_MAX, "{engine:?}: {most} descriptors behind common prefixes");
    }
}

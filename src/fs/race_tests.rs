//! What two requests do to each other in one tree: deletes that remove directories beside writes that need them, and
//! what is durable when either is answered.
//!
//! The order of steps is fixed by planned delays, never by luck; each test runs on both engines, and on a real directory.
//! Source: DESIGN rules as written down in ARCHITECTURE.md, "S3 on POSIX".

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use uring::cores::{self, Settings};
use uring::engine::{self, Choice, Name};
use uring::errno::Errno;
use uring::fault::{self, Fault, Nth, OperationKind, Plan, Rule};
use uring::file;
use uring::identity::Identity;
use uring::stat;
use uring::time;

use super::bucket::{self, Bucket};
use super::commit::{self, Committed, Target};
use super::inflight::{self, Instance};
use super::metadata::view::Metadata;
use super::mount::Mount;
use super::tree::{Durability, Making, Shared, Tree};
use super::{directory_object, parents, path, reader, remove, together, writer};
use crate::s3::error::{Code, S3Error};
use crate::s3::etag::ETag;
use crate::s3::headers::{StoredHeaders, UserMetadata};
use crate::s3::names::{BucketName, ObjectKey};
use crate::s3::precondition::WriteCondition;

pub(super) const ME: Identity = Identity::SERVER;

/// A server's tree with one bucket, `bkt`.
pub(super) struct Server {
    pub(super) root: PathBuf,
    pub(super) tree: Rc<Tree>,
    pub(super) bucket: Bucket,
}

impl Server {
    pub(super) async fn start(root: &Path) -> Server {
        let making = Making { durability: Durability::Full, file_mode: 0o640, directory_mode: 0o750 };
        let tree = Tree::open(root, Arc::new(Shared::new(Instance::new())), making).unwrap();
        tree.probe_root().await.unwrap();
        let bucket = Bucket::open(&tree, &name(), ME).await.unwrap();
        Server { root: root.to_owned(), tree, bucket }
    }

    pub(super) async fn put(&self, key: &str) -> Result<Committed, S3Error> {
        self.put_with(key, &metadata()).await
    }

    pub(super) async fn put_with(&self, key: &str, metadata: &Metadata) -> Result<Committed, S3Error> {
        let path = path::of(&ObjectKey::parse(key.as_bytes())?)?;
        let target = Target { tree: &self.tree, bucket: &self.bucket, path: &path, identity: ME };
        let condition = WriteCondition::Unconditional;
        if key.ends_with('/') {
            return directory_object::commit_directory(&target, metadata, &condition).await;
        }
        let staged = writer::stage(&self.tree, &self.bucket, &path, writer::Path::Cached, ME).await?;
        commit::commit(&target, staged, metadata, &condition).await
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), S3Error> {
        let path = path::of(&ObjectKey::parse(key.as_bytes())?)?;
        let target = Target { tree: &self.tree, bucket: &self.bucket, path: &path, identity: ME };
        remove::delete(&target, &WriteCondition::Unconditional).await
    }

    pub(super) async fn has(&self, key: &str) -> bool {
        let path = path::of(&ObjectKey::parse(key.as_bytes()).unwrap()).unwrap();
        reader::open(&self.tree, &name(), &path, ME).await.is_ok()
    }

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.root.join("bkt").join(path)
    }
}

pub(super) fn name() -> BucketName {
    BucketName::parse("bkt").unwrap()
}

pub(super) fn metadata() -> Metadata {
    Metadata {
        etag: ETag::of_md5([7; 16]),
        headers: StoredHeaders::default(),
        user_metadata: UserMetadata::default(),
        checksum: None,
        part_sizes: None,
        version_id: None,
    }
}

pub(super) fn on_both_engines<F: Future<Output = ()> + 'static>(body: impl Fn(Server) -> F + Copy + 'static) {
    for engine in [Name::IoUring, Name::Threads] {
        if engine == Name::IoUring && engine::choose(Choice::IoUring).is_err() {
            eprintln!("SKIPPED on io_uring: refused here");
            continue;
        }
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("bkt")).unwrap();
        let cpus = vec![uring::affinity::allowed().unwrap()[0]];
        let settings =
            Settings { cpus, engine, arena_bytes: 1 << 20, pool_threads_max: 4, faults: Plan::default() };
        let (path, passed) = (root.path().to_owned(), Rc::new(Cell::new(false)));
        let flag = passed.clone();
        let run = async move {
            body(Server::start(&path).await).await;
            flag.set(true);
        };
        cores::block_on(&settings, run).unwrap();
        assert!(passed.get(), "it failed on {engine}");
    }
}

/// The first operation of a kind from here on.
pub(super) fn first(kind: OperationKind, fault: Fault) {
    fault::install(vec![Rule { kind: Some(kind), nth: Nth::Only(1), fault }]);
}

/// Long enough for anything else that a test starts to come to its end, unless it waits for what is delayed.
const LONG: Fault = Fault::Delay(Duration::from_millis(300));

type Running<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

#[test]
fn a_directory_that_vanishes_while_its_child_is_made_is_made_again() {
    on_both_engines(|server| async move {
        first(OperationKind::MakeDirectory, Fault::Fail(Errno::NOENT));
        server.put("a/b/c/key").await.unwrap();
        assert!(server.has("a/b/c/key").await);
        first(OperationKind::MakeDirectory, Fault::Fail(Errno::NOENT));
        server.put("d/e/").await.unwrap();
        assert!(server.has("d/e/").await);
    });
}

#[test]
fn a_directory_object_survives_the_removal_of_the_directory_it_was() {
    on_both_engines(|server| async move {
        server.put("dir/key").await.unwrap();
        // The first name to go is the key's, the second its directory's.
        let rule = Rule { kind: Some(OperationKind::Unlink), nth: Nth::Only(2), fault: LONG };
        fault::install(vec![rule]);
        let deletes = async { server.delete("dir/key").await.unwrap() };
        let puts = async {
            while server.at("dir/key").exists() {
                time::sleep(Duration::from_millis(1)).await;
            }
            // By now the look at the directory is over or about to be, and its removal waits.
            time::sleep(Duration::from_millis(100)).await;
            server.put("dir/").await.unwrap();
        };
        together::together([Box::pin(deletes) as Running<'_>, Box::pin(puts)]).await;
        assert!(server.has("dir/").await, "an acknowledged object is gone");
    });
}

/// As above, with a second server, which shares no lock of this process; `also` is planned besides.
async fn prune_beside_another_server(server: &Server, also: Vec<Rule>) {
    server.put("dir/key").await.unwrap();
    let other = Server::start(&server.root).await;
    let second = Rule { kind: Some(OperationKind::Unlink), nth: Nth::Only(2), fault: LONG };
    fault::install([also, vec![second]].concat());
    let deletes = async { server.delete("dir/key").await.unwrap() };
    let puts = async {
        while server.at("dir/key").exists() {
            time::sleep(Duration::from_millis(1)).await;
        }
        time::sleep(Duration::from_millis(100)).await;
        other.put("dir/").await.unwrap();
    };
    together::together([Box::pin(deletes) as Running<'_>, Box::pin(puts)]).await;
    fault::install(Vec::new());
    assert!(server.has("dir/").await && other.has("dir/").await, "an acknowledged object is gone");
}

#[test]
fn a_directory_object_survives_the_prune_of_another_server() {
    on_both_engines(|server| async move { prune_beside_another_server(&server, Vec::new()).await });
}

#[test]
fn a_directory_object_survives_it_where_there_are_no_locks() {
    let refused =
        Rule { kind: Some(OperationKind::Lock), nth: Nth::From(1), fault: Fault::Fail(Errno::NOSYS) };
    on_both_engines(move |server| async move { prune_beside_another_server(&server, vec![refused]).await });
}

#[test]
fn a_directory_that_vanishes_before_it_is_marked_is_made_again() {
    on_both_engines(|server| async move {
        std::fs::create_dir(server.at("dir")).unwrap();
        // The first attribute is the record.
        first(OperationKind::SetAttribute, LONG);
        let removes = async {
            time::sleep(Duration::from_millis(100)).await;
            std::fs::remove_dir(server.at("dir")).unwrap();
        };
        let puts = async {
            server.put("dir/").await.unwrap();
        };
        together::together([Box::pin(removes) as Running<'_>, Box::pin(puts)]).await;
        assert!(server.has("dir/").await, "an acknowledged object is gone");
    });
}

#[test]
fn a_directory_whose_lock_somebody_holds_is_not_marked_and_not_removed() {
    on_both_engines(|server| async move {
        server.put("dir/key").await.unwrap();
        let opened = file::open_at_start(&server.at("dir"), libc::O_RDONLY | libc::O_DIRECTORY).unwrap();
        let held = uring::lock::try_lock(&opened).unwrap();
        server.delete("dir/key").await.unwrap();
        assert!(server.at("dir").exists(), "somebody is at it");
        assert_eq!(server.put("dir/").await.unwrap_err().code(), Code::ServiceUnavailable);
        drop((held, opened));
        server.put("dir/").await.unwrap();
    });
}

#[test]
fn a_write_that_cannot_open_its_directory_leaves_no_name() {
    on_both_engines(|server| async move {
        for key in ["key", "old/key", "new/deep/key"] {
            let mut refused = 0;
            for nth in 1.. {
                std::fs::create_dir_all(server.at("old")).unwrap();
                let fault = Fault::Fail(Errno::MFILE);
                let kind = Some(OperationKind::Open);
                fault::install(vec![Rule { kind, nth: Nth::Only(nth), fault }]);
                let put = server.put(key).await;
                fault::install(Vec::new());
                if put.is_err() {
                    refused += 1;
                    assert!(!server.has(key).await, "{key}: refused at open {nth} and there");
                }
                server.delete(key).await.unwrap();
                if put.is_ok() {
                    break;
                }
            }
            assert!(refused > 1, "{key}: only {refused} opens could fail");
        }
    });
}

#[test]
fn what_a_failed_flush_leaves_the_next_write_flushes() {
    on_both_engines(|server| async move {
        let third = |errno| {
            let fault = Fault::Fail(errno);
            fault::install(vec![Rule { kind: Some(OperationKind::Sync), nth: Nth::Only(3), fault }]);
        };
        // The file, its directory, the bucket, which has got an entry.
        third(Errno::NOSPC);
        assert_eq!(server.put("new/key").await.unwrap_err().code(), Code::InsufficientStorage);
        assert!(server.at("new/key").exists(), "it has its name, and nobody knows for how long");
        for key in ["new/key", "new/other"] {
            third(Errno::DQUOT);
            let again = server.put(key).await;
            assert_eq!(
                again.unwrap_err().code(),
                Code::InsufficientStorage,
                "{key}: the bucket is not flushed"
            );
        }
        fault::install(Vec::new());
        server.put("new/key").await.unwrap();
    });
}

#[test]
fn a_mount_that_flushes_no_directories_takes_no_writes_that_are_to_last() {
    on_both_engines(|server| async move {
        let own = Tree::own_directory(&server.tree.root).await.unwrap();
        first(OperationKind::Sync, Fault::Fail(Errno::INVAL));
        let mount = Mount::probe(&own).await.unwrap();
        fault::install(Vec::new());
        let Server { root, tree, mut bucket } = server;
        bucket.mount = Arc::new(mount);
        let server = Server { root, tree, bucket };
        assert_eq!(server.put("key").await.unwrap_err().code(), Code::NotImplemented);
        assert_eq!(server.put("dir/").await.unwrap_err().code(), Code::NotImplemented);
        assert!(!server.at("key").exists() && !server.at("dir").exists());
    });
}

#[test]
fn a_filesystem_without_locks_takes_all_writes() {
    on_both_engines(|server| async move {
        let fault = Fault::Fail(Errno::NOSYS);
        fault::install(vec![Rule { kind: Some(OperationKind::Lock), nth: Nth::From(1), fault }]);
        let (one, other) = (Server::start(&server.root).await, Server::start(&server.root).await);
        assert!(!one.bucket.mount.has_locks, "the probe has found out");
        for server in [&one, &other] {
            server.put("key").await.unwrap();
            server.put("key").await.unwrap();
            server.put("dir/").await.unwrap();
            inflight::announce(&server.tree, &server.bucket).await.unwrap();
        }
        // Nobody can tell which of them lives, so neither is swept.
        let swept = inflight::sweep(&one.tree, &one.bucket).await.unwrap();
        assert_eq!((swept.removed, swept.doubtful), (0, vec![]));
        let instance = other.tree.shared.instance.as_str();
        assert!(inflight::is_alive(&one.tree, &one.bucket, instance).await.unwrap());
    });
}

#[test]
fn a_delete_that_finds_nothing_flushes_what_another_took() {
    on_both_engines(|server| async move {
        server.put("key").await.unwrap();
        let rule = |nth, fault| Rule { kind: Some(OperationKind::Sync), nth: Nth::Only(nth), fault };
        fault::install(vec![rule(1, LONG), rule(2, Fault::Fail(Errno::NOSPC))]);
        let one = async { server.delete("key").await.unwrap() };
        let other = async {
            while server.at("key").exists() {
                time::sleep(Duration::from_millis(1)).await;
            }
            let refused = server.delete("key").await.unwrap_err();
            assert_eq!(refused.code(), Code::InsufficientStorage, "it has not flushed");
        };
        together::together([Box::pin(one) as Running<'_>, Box::pin(other)]).await;
    });
}

#[test]
fn a_write_into_a_directory_that_appears_while_it_looks_flushes_all_above() {
    on_both_engines(|server| async move {
        let path = path::of(&ObjectKey::parse(b"new/key").unwrap()).unwrap();
        first(OperationKind::Open, LONG);
        let made = RefCell::new(None);
        let late = async {
            let place = parents::make(&server.tree, &server.bucket, &path, ME).await.unwrap();
            assert_eq!(place.changed.len(), 1, "the bucket has an entry that nobody has flushed yet");
        };
        let early = async {
            *made.borrow_mut() = Some(parents::make(&server.tree, &server.bucket, &path, ME).await.unwrap());
        };
        together::together([Box::pin(late) as Running<'_>, Box::pin(early)]).await;
    });
}

#[test]
fn directories_of_a_write_that_fails_are_durable_before_the_next() {
    on_both_engines(|server| async move {
        let fail = |kind, nth| Rule { kind: Some(kind), nth, fault: Fault::Fail(Errno::IO) };
        // The first flush is the file's; the one that fails is of a directory, which stops later writes.
        let rules = vec![fail(OperationKind::Link, Nth::Only(1)), fail(OperationKind::Sync, Nth::Only(2))];
        fault::install(rules);
        assert_eq!(server.put("new/key").await.unwrap_err().code(), Code::InternalError);
        assert!(server.bucket.mount.is_suspect(), "the new directory was not flushed");
    });
}

#[test]
fn directories_made_before_one_that_cannot_be_are_durable() {
    on_both_engines(|server| async move {
        let fail =
            |kind, nth, errno| Rule { kind: Some(kind), nth: Nth::Only(nth), fault: Fault::Fail(errno) };
        let rules = vec![
            fail(OperationKind::MakeDirectory, 2, Errno::NOSPC),
            fail(OperationKind::Sync, 2, Errno::IO),
        ];
        fault::install(rules);
        assert_eq!(server.put("a/b/key").await.unwrap_err().code(), Code::InsufficientStorage);
        assert!(server.bucket.mount.is_suspect(), "the new directory was not flushed");
    });
}

#[test]
fn directories_made_for_a_write_that_fails_go_with_it() {
    on_both_engines(|server| async move {
        let fail = |kind, nth| {
            let fault = Fault::Fail(Errno::NOSPC);
            fault::install(vec![Rule { kind: Some(kind), nth: Nth::Only(nth), fault }]);
        };
        std::fs::create_dir(server.at("posix")).unwrap();
        // Another write has made these and is about to use them.
        let path = path::of(&ObjectKey::parse(b"other/write/key").unwrap()).unwrap();
        parents::make(&server.tree, &server.bucket, &path, ME).await.unwrap();
        for (kind, nth, key, gone) in [
            (OperationKind::Link, 1, "posix/new/deep/key", "posix/new"),
            (OperationKind::Link, 1, "other/write/new/key", "other/write/new"),
            (OperationKind::Link, 1, "new/key", "new"),
            (OperationKind::MakeDirectory, 2, "new/deep/key", "new"),
            // The first attribute is the mark.
            (OperationKind::SetAttribute, 2, "posix/new/", "posix/new"),
        ] {
            fail(kind, nth);
            assert_eq!(server.put(key).await.unwrap_err().code(), Code::InsufficientStorage, "{key}");
            assert!(!server.at(gone).exists(), "{gone} was made for {key} and is empty");
        }
        fault::install(Vec::new());
        assert!(server.at("posix").exists() && server.at("other/write").exists(), "others made them");
        server.put("posix/new/deep/key").await.unwrap();
        assert!(server.has("posix/new/deep/key").await);
    });
}

/// The kernel of the day stamps finely, so the time that an older one would give the second write is set by hand.
#[test]
fn a_write_in_the_tick_of_the_commit_makes_the_record_stale() {
    on_both_engines(|server| async move {
        server.bucket.mount.forget_fine_stamps();
        let path = path::of(&ObjectKey::parse(b"key").unwrap()).unwrap();
        let target = Target { tree: &server.tree, bucket: &server.bucket, path: &path, identity: ME };
        let staged =
            writer::stage(&server.tree, &server.bucket, &path, writer::Path::Cached, ME).await.unwrap();
        file::write_bytes(staged.file(), Box::from(*b"old"), 0, ME).await.unwrap();
        let tick_ns = stat::stat(staged.file()).unwrap().modified_ns;
        let condition = WriteCondition::Unconditional;
        let committed = commit::commit(&target, staged, &metadata(), &condition).await.unwrap();
        let etag = async || reader::open(&server.tree, &name(), &path, ME).await.unwrap().etag();
        assert_eq!(etag().await, committed.etag, "nothing was written yet");
        std::fs::write(server.at("key"), "new").unwrap();
        let written = file::open_at_start(&server.at("key"), libc::O_RDWR).unwrap();
        file::set_modified(&written, tick_ns, ME).await.unwrap();
        assert_ne!(etag().await, committed.etag, "the bytes are others");
    });
}

#[test]
fn a_scan_is_told_what_is_overwritten_meanwhile() {
    on_both_engines(|_| async move {
        let Ok(root) = tempfile::tempdir_in("/dev/shm") else {
            eprintln!("SKIPPED fs::race_tests::a_scan_is_told_what_is_overwritten_meanwhile: no tmpfs here");
            return;
        };
        std::fs::create_dir(root.path().join("bkt")).unwrap();
        let server = Server::start(root.path()).await;
        server.put("dir/key").await.unwrap();
        let scan = server.tree.shared.fresh.scanning(server.bucket.stat.inode, "dir/");
        server.put("dir/key").await.unwrap();
        assert_eq!(scan.names().into_iter().collect::<Vec<_>>(), [Box::from(&b"key"[..])]);
    });
}

#[test]
fn a_copied_mark_marks_nothing() {
    on_both_engines(|server| async move {
        server.put("made/key").await.unwrap();
        std::fs::create_dir(server.at("copied")).unwrap();
        std::fs::write(server.at("copied/key"), "by a POSIX user").unwrap();
        // As `cp -a` does it.
        let mark = attribute(&server.at("made"));
        set_attribute(&server.at("copied"), &mark).await;
        server.delete("made/key").await.unwrap();
        server.delete("copied/key").await.unwrap();
        assert!(!server.at("made").exists(), "it was made for the key alone");
        assert!(server.at("copied").exists(), "a POSIX user made it");
    });
}

fn attribute(directory: &Path) -> Vec<u8> {
    let opened = file::open_at_start(directory, libc::O_RDONLY | libc::O_DIRECTORY).unwrap();
    let mut value = [0; 64];
    let length = file::read_attribute(&opened, parents::MARK, &mut value).unwrap();
    value[..length].to_vec()
}

async fn set_attribute(directory: &Path, value: &[u8]) {
    let opened = file::open_at_start(directory, libc::O_RDONLY | libc::O_DIRECTORY).unwrap();
    file::set_attribute(&opened, parents::MARK, value.into(), 0, ME).await.unwrap();
}

#[test]
fn directories_that_vanish_before_a_bucket_is_deleted_are_no_error() {
    on_both_engines(|server| async move {
        for kind in [OperationKind::ReadDirectory, OperationKind::Open] {
            // The first open is the bucket's own.
            for nth in 2..16 {
                std::fs::create_dir_all(server.at("one/two")).unwrap();
                let fault = Fault::Fail(Errno::NOENT);
                fault::install(vec![Rule { kind: Some(kind), nth: Nth::Only(nth), fault }]);
                match bucket::delete(&server.tree, &name(), ME).await {
                    Ok(()) => {}
                    Err(error) => assert!(
                        matches!(error.code(), Code::BucketNotEmpty | Code::NoSuchBucket),
                        "{kind:?} {nth}: {error:?}"
                    ),
                }
                fault::install(Vec::new());
            }
        }
    });
}

#[test]
fn a_bucket_that_is_not_empty_keeps_its_empty_directories() {
    on_both_engines(|server| async move {
        for number in 0..32 {
            std::fs::create_dir_all(server.at(&format!("empty-{number}/deeper"))).unwrap();
        }
        std::fs::create_dir(server.at("full")).unwrap();
        std::fs::write(server.at("full/key"), "").unwrap();
        let refused = bucket::delete(&server.tree, &name(), ME).await.unwrap_err();
        assert_eq!(refused.code(), Code::BucketNotEmpty);
        for number in 0..32 {
            assert!(server.at(&format!("empty-{number}/deeper")).exists(), "empty-{number} was removed");
        }
        std::fs::remove_file(server.at("full/key")).unwrap();
        bucket::delete(&server.tree, &name(), ME).await.unwrap();
        assert!(!server.at("").exists());
    });
}

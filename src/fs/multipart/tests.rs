//! Uploads on a real directory, on both engines: where parts lie, what Complete makes of them, and that neither faults
//! nor a restart harm what was acknowledged.
//!
//! A crash is every operation from the nth on failing, the clean-up ones too, followed by a new server on the same
//! directory. Parts are of the smallest size another may follow.

use std::cell::Cell;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use uring::arena::{self, BlockSize};
use uring::cores::{self, Settings};
use uring::engine::{self, Choice, Name};
use uring::errno::Errno;
use uring::fault::{self, Fault, Nth, OperationKind, Plan, Poison, Rule};
use uring::identity::Identity;
use uring::{task, time};

use super::complete::{self, Completed, Completion, Destination, ListedPart, Planned};
use super::parts::{self, Arrived, PartFile};
use super::record::{Initiator, UploadRecord};
use super::upload::{self, Upload};
use super::{abort, sweep};
use crate::digest::stream::{Kind, Stream, Wanted};
use crate::fs::bucket::Bucket;
use crate::fs::commit::Target;
use crate::fs::inflight::{self, Instance};
use crate::fs::path;
use crate::fs::reader;
use crate::fs::tree::{Durability, Making, Shared, Tree};
use crate::s3::checksum::{Algorithm, Checksum, ChecksumType};
use crate::s3::error::{Code, S3Error};
use crate::s3::etag::ETag;
use crate::s3::headers::{StoredHeaders, UserMetadata};
use crate::s3::names::{BucketName, ObjectKey, PartNumber, UploadId};
use crate::s3::precondition::WriteCondition;

const ME: Identity = Identity::SERVER;
const PART: usize = 5 << 20;
const KEY: &str = "deep/er/object";

fn settings(engine: Name) -> Settings {
    let cpus = vec![uring::affinity::allowed().expect("the scheduler answers")[0]];
    let faults = Plan { rules: Vec::new(), poison: Poison::On };
    Settings { cpus, engine, arena_bytes: 8 << 20, pool_threads_max: 4, faults }
}

/// Runs a test body once an engine on a server of its own.
fn on_both_engines<F: Future<Output = ()> + 'static>(body: impl Fn(Server) -> F + Copy + 'static) {
    for engine in [Name::IoUring, Name::Threads] {
        if engine == Name::IoUring && engine::choose(Choice::IoUring).is_err() {
            eprintln!("SKIPPED on io_uring: refused here");
            continue;
        }
        let root = tempfile::tempdir().expect("there is room for a test");
        std::fs::create_dir(root.path().join("bucket")).expect("the directory is ours");
        let (path, passed) = (root.path().to_owned(), Rc::new(Cell::new(false)));
        let flag = passed.clone();
        let run = async move {
            body(Server::start(&path).await).await;
            flag.set(true);
        };
        cores::block_on(&settings(engine), run).expect("the core starts");
        assert!(passed.get(), "it failed on {engine}");
    }
}

/// A server on a directory.
struct Server {
    root: PathBuf,
    tree: Rc<Tree>,
}

impl Server {
    async fn start(root: &Path) -> Server {
        let making = Making { durability: Durability::Full, file_mode: 0o640, directory_mode: 0o750 };
        let shared = Arc::new(Shared::new(Instance::new()));
        let tree = Tree::open(root, shared, making).expect("the root is there");
        tree.probe_root().await.expect("the root's filesystem works");
        Server { root: root.to_owned(), tree }
    }

    /// Ends the server and starts another one, as a start does: it sweeps first.
    async fn restart(self) -> Server {
        let root = self.root.clone();
        drop(self);
        let server = Server::start(&root).await;
        let bucket = server.bucket().await;
        inflight::sweep(&server.tree, &bucket).await.expect("it sweeps");
        sweep::sweep(&server.tree, &bucket, time::unix_ns()).await.expect("it sweeps");
        server
    }

    async fn bucket(&self) -> Bucket {
        Bucket::open(&self.tree, &bucket_name(), ME).await.expect("the bucket is there")
    }

    async fn begin(&self) -> Result<UploadId, S3Error> {
        self.begin_with(None).await
    }

    async fn begin_with(&self, checksum: Option<(Algorithm, ChecksumType)>) -> Result<UploadId, S3Error> {
        let (bucket, path) = (Bucket::open(&self.tree, &bucket_name(), ME).await?, key_path());
        let target = Target { tree: &self.tree, bucket: &bucket, path: &path, identity: ME };
        let record = UploadRecord {
            key: key(),
            created_ns: 1,
            initiator: Initiator { id: "1".repeat(64), name: "root".to_owned() },
            headers: StoredHeaders { content_type: Some("a/b".to_owned()), ..StoredHeaders::default() },
            user_metadata: UserMetadata::default(),
            checksum,
        };
        upload::create(&target, &record).await
    }

    async fn put(&self, id: &UploadId, number: u64, bytes: &[u8]) -> Result<ListedPart, S3Error> {
        self.put_then(id, number, bytes, async || {}).await
    }

    /// Puts a part; `then` runs when its bytes have arrived and its record is not written yet.
    async fn put_then(
        &self,
        id: &UploadId,
        number: u64,
        bytes: &[u8],
        then: impl AsyncFnOnce(),
    ) -> Result<ListedPart, S3Error> {
        let (bucket, path) = (Bucket::open(&self.tree, &bucket_name(), ME).await?, key_path());
        let target = Target { tree: &self.tree, bucket: &bucket, path: &path, identity: ME };
        let upload = upload::find(&self.tree, &bucket, &key(), id).await?;
        let part = parts::begin(&target, &upload, number_of(number), Some(bytes.len() as u64)).await?;
        if let Err(error) = write(&part, bytes).await {
            part.abandon().await;
            return Err(error);
        }
        then().await;
        let checksum = upload.record.checksum.map(|(algorithm, _)| checksum_of(algorithm, bytes));
        let arrived = Arrived { size_bytes: bytes.len() as u64, md5: md5(bytes), checksum, now_ns: number };
        part.commit(arrived).await?;
        Ok(ListedPart { number: number_of(number), etag: ETag::of_md5(md5(bytes)).quoted(), checksum })
    }

    async fn plan(&self, id: &UploadId, completion: &Completion) -> Result<Planned, S3Error> {
        let bucket = Bucket::open(&self.tree, &bucket_name(), ME).await?;
        let (tree, path) = (self.tree.clone(), key_path());
        complete::plan(Destination { tree, bucket, key: key(), path, identity: ME }, id, completion).await
    }

    async fn complete(&self, id: &UploadId, parts: &[ListedPart]) -> Result<Completed, S3Error> {
        self.complete_if(id, parts, WriteCondition::Unconditional).await
    }

    async fn complete_if(
        &self,
        id: &UploadId,
        parts: &[ListedPart],
        condition: WriteCondition,
    ) -> Result<Completed, S3Error> {
        match self.plan(id, &Completion { condition, ..listed(parts) }).await? {
            Planned::Done(completed) => Ok(completed),
            Planned::Ready(plan) => plan.run(time::unix_ns()).await,
        }
    }

    /// Completes, and says how many bytes were copied for it.
    async fn complete_copying(&self, id: &UploadId, parts: &[ListedPart]) -> u64 {
        match self.plan(id, &listed(parts)).await.expect("the list is right") {
            Planned::Done(_) => panic!("nothing was completed before"),
            Planned::Ready(plan) => {
                let copied = plan.copied_bytes();
                plan.run(time::unix_ns()).await.expect("it completes");
                copied
            }
        }
    }

    async fn upload(&self, id: &UploadId) -> Upload {
        upload::find(&self.tree, &self.bucket().await, &key(), id).await.expect("the upload is there")
    }

    async fn abort(&self, id: &UploadId) -> Result<(), S3Error> {
        let bucket = Bucket::open(&self.tree, &bucket_name(), ME).await?;
        abort::abort(&self.tree, &bucket, &key(), id).await
    }

    fn object(&self) -> PathBuf {
        self.root.join("bucket").join(KEY)
    }

    fn content(&self) -> Option<Vec<u8>> {
        std::fs::read(self.object()).ok()
    }

    /// Every file of the uploads, tombstones left out.
    fn left(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![self.root.join(".ringway/b")];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() && path.ends_with("inflight") {
                    continue;
                }
                if path.is_dir() {
                    open.push(path.clone());
                }
                let name = path.strip_prefix(&self.root).expect("it lies below").display().to_string();
                if name.matches('/').count() > 3 && !name.ends_with(".done") {
                    found.push(name);
                }
            }
        }
        found
    }

    /// Every name in the bucket.
    fn names(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![self.root.join("bucket")];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    open.push(entry.path());
                } else {
                    let path = entry.path();
                    found.push(path.strip_prefix(&self.root).expect("below").display().to_string());
                }
            }
        }
        found
    }

    async fn check_object(&self, want: &[u8], want_etag: ETag) {
        assert!(self.content().is_some_and(|content| content == want), "the bytes are not those of the parts");
        assert_eq!(self.names(), [format!("bucket/{KEY}")]);
        assert_eq!(self.left(), [""; 0], "nothing of the upload is left");
        let object = reader::open(&self.tree, &bucket_name(), &key_path(), ME).await.expect("it is an object");
        let metadata = object.metadata(KEY).await.expect("its attributes are read");
        assert_eq!((object.etag(), metadata.headers.content_type.as_deref()), (want_etag, Some("a/b")));
    }
}

fn bucket_name() -> BucketName {
    BucketName::parse("bucket").unwrap()
}

fn key() -> ObjectKey {
    ObjectKey::parse(KEY.as_bytes()).unwrap()
}

fn key_path() -> path::KeyPath {
    path::of(&key()).unwrap()
}

fn number_of(number: u64) -> PartNumber {
    PartNumber::new(number).unwrap()
}

fn listed(parts: &[ListedPart]) -> Completion {
    Completion {
        parts: parts.to_vec(),
        condition: WriteCondition::Unconditional,
        object_bytes: None,
        checksum: None,
        checksum_type: None,
    }
}

/// Bytes that differ from block to block and from seed to seed.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    let mut stream = Stream::new(Wanted::NONE.with(Kind::Md5));
    stream.update(bytes);
    stream.finish().md5.unwrap()
}

fn checksum_of(algorithm: Algorithm, bytes: &[u8]) -> Checksum {
    let mut stream = Stream::new(Wanted::NONE.with(algorithm.kind()));
    stream.update(bytes);
    Checksum::computed(algorithm, &stream.finish()).unwrap()
}

fn etag_of(parts: &[&[u8]]) -> ETag {
    let md5s: Vec<u8> = parts.iter().flat_map(|part| md5(part)).collect();
    ETag::of_parts(md5(&md5s), parts.len() as u16)
}

/// Writes a part as the body pipeline does.
async fn write(part: &PartFile<'_>, bytes: &[u8]) -> Result<(), S3Error> {
    let mut writer = part.writer();
    for piece in bytes.chunks(BlockSize::Large.bytes()) {
        let mut block = match writer.take_returned() {
            Some(block) => block,
            None => arena::acquire(BlockSize::Large, 1).await.remove(0),
        };
        block[..piece.len()].copy_from_slice(piece);
        writer.write(block.freeze(), piece.len()).await?;
    }
    writer.finish().await.map(|_| ())
}

fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

impl Server {
    fn in_place(&self, id: &UploadId, file: u8) -> PathBuf {
        let uploads = self.left().into_iter().find(|name| name.ends_with(id.as_str())).unwrap();
        self.root.join(uploads).join(format!("data-{file}"))
    }
}

/// Puts parts in the order given and completes with all of them; want: how many bytes were copied.
async fn check_parts(server: &Server, sizes: &[(u64, usize)], want_copied: usize) {
    let id = server.begin().await.unwrap();
    let mut sent: Vec<(u64, Vec<u8>, ListedPart)> = Vec::new();
    for (number, size) in sizes {
        let body = bytes(*number, *size);
        let part = server.put(&id, *number, &body).await.unwrap();
        sent.push((*number, body, part));
    }
    sent.sort_by_key(|(number, ..)| *number);
    let bodies: Vec<&[u8]> = sent.iter().map(|(_, body, _)| body.as_slice()).collect();
    let list: Vec<ListedPart> = sent.iter().map(|(_, _, part)| part.clone()).collect();
    assert_eq!(server.complete_copying(&id, &list).await, want_copied as u64, "{sizes:?}");
    server.check_object(&bodies.concat(), etag_of(&bodies)).await;
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
        let bodies = [bytes(1, PART), bytes(2, PART), bytes(3, 77)];
        let mut list = Vec::new();
        for (body, number) in bodies.iter().zip(1..) {
            list.push(server.put(&id, number, body).await.unwrap());
        }
        assert_eq!(server.content().unwrap(), b"old");
        server.complete(&id, &list).await.unwrap();
        assert_eq!(inode(&server.object()), want);
        server.check_object(&bodies.concat(), etag_of(&[&bodies[0], &bodies[1], &bodies[2]])).await;
    });
}

#[test]
fn a_repeat_takes_over_when_it_is_whole() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let (first, second, last) = (bytes(1, PART), bytes(2, PART), bytes(3, PART));
        server.put(&id, 1, &first).await.unwrap();
        let two = server.put(&id, 2, &last).await.unwrap();
        for seed in [9, 2] {
            server.put(&id, 1, &bytes(seed, PART)).await.unwrap();
        }
        let sides = server.left().iter().filter(|name| name.contains("/part-")).count();
        assert_eq!(sides, 1, "the side file of the repeat before is gone");
        let one = ListedPart { number: number_of(1), etag: ETag::of_md5(md5(&second)).to_string(), checksum: None };
        let want = inode(&server.in_place(&id, 1));
        assert_eq!(server.complete_copying(&id, &[one, two]).await, PART as u64);
        assert_eq!(inode(&server.object()), want, "only the repeat was copied");
        server.check_object(&[second.clone(), last.clone()].concat(), etag_of(&[&second, &last])).await;
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
        let body = bytes(1, PART);
        let one = server.put(&id, 1, &body).await.unwrap();
        for nth in 1..4 {
            fault::install(failing(OperationKind::Write, nth, Errno::NOSPC));
            let error = server.put(&id, 1, &bytes(2, PART)).await.unwrap_err();
            assert_eq!(error.code(), Code::InsufficientStorage);
        }
        fault::install(Vec::new());
        assert!(!server.left().iter().any(|name| name.contains("/part-")), "{:?}", server.left());
        server.complete(&id, &[one]).await.unwrap();
        server.check_object(&body, etag_of(&[&body])).await;
    });
}

#[test]
fn a_first_part_that_fails_gives_its_place_back() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let bodies = [bytes(1, PART), bytes(2, PART)];
        let one = server.put(&id, 1, &bodies[0]).await.unwrap();
        let file = server.in_place(&id, 1);
        let before = std::fs::metadata(&file).unwrap().blocks();
        fault::install(failing(OperationKind::Write, 3, Errno::NOSPC));
        server.put(&id, 2, &bodies[1]).await.unwrap_err();
        fault::install(Vec::new());
        assert_eq!(std::fs::metadata(&file).unwrap().blocks(), before, "the space is back");
        let two = server.put(&id, 2, &bodies[1]).await.unwrap();
        assert_eq!(server.complete_copying(&id, &[one, two]).await, 0);
        server.check_object(&bodies.concat(), etag_of(&[&bodies[0], &bodies[1]])).await;
    });
}

#[test]
fn a_part_of_the_same_number_at_the_same_time_goes_beside() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let (first, second) = (bytes(1, PART), bytes(2, PART));
        let again = async || {
            server.put(&id, 1, &second).await.unwrap();
        };
        // The second has its record first; the first is recorded last, and so counts.
        let one = server.put_then(&id, 1, &first, again).await.unwrap();
        assert!(!server.left().iter().any(|name| name.contains("/part-")), "the other's file is gone");
        server.complete(&id, &[one]).await.unwrap();
        server.check_object(&first, etag_of(&[&first])).await;
    });
}

#[test]
fn a_completed_upload_answers_again() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let body = bytes(1, PART);
        let one = server.put(&id, 1, &body).await.unwrap();
        let first = server.complete(&id, std::slice::from_ref(&one)).await.unwrap();
        assert_eq!(first.etag, etag_of(&[&body]));
        let again = server.complete_if(&id, std::slice::from_ref(&one), WriteCondition::Absent).await.unwrap();
        assert_eq!(again, first);
        let server = server.restart().await;
        assert_eq!(server.complete(&id, &[one]).await.unwrap(), first);
        assert_eq!(server.put(&id, 2, b"late").await.unwrap_err().code(), Code::NoSuchUpload);
        assert_eq!(server.abort(&id).await.unwrap_err().code(), Code::NoSuchUpload);
        server.check_object(&body, etag_of(&[&body])).await;
        let day_later = time::unix_ns() + 25 * 3600 * 1_000_000_000;
        assert_eq!(sweep::sweep(&server.tree, &server.bucket().await, day_later).await, Ok(1));
    });
}

#[test]
fn late_parts_find_no_upload() {
    on_both_engines(|server| async move {
        let body = bytes(1, PART);
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
        server.check_object(&body, etag_of(&[&body])).await;
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
                let put = racing.put(&of_part, 1, &bytes(1, 20_000)).await;
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
        let bodies = [bytes(1, PART), bytes(2, PART), bytes(3, 9)];
        let one = server.put(&id, 1, &bodies[0]).await.unwrap();
        let two = server.put(&id, 2, &bodies[1]).await.unwrap();
        let file = inode(&server.in_place(&id, 1));
        let server = server.restart().await;
        let three = server.put(&id, 3, &bodies[2]).await.unwrap();
        let numbers: Vec<u16> =
            server.upload(&id).await.numbers().await.unwrap().iter().map(|number| number.value()).collect();
        assert_eq!(numbers, [1, 2, 3]);
        // The server that wrote in place is gone, so its file is the object; what came later is copied into it.
        assert_eq!(server.complete_copying(&id, &[one, two, three]).await, 9);
        assert_eq!(inode(&server.object()), file);
        server.check_object(&bodies.concat(), etag_of(&[&bodies[0], &bodies[1], &bodies[2]])).await;
    });
}

#[test]
fn another_server_that_lives_keeps_its_file() {
    on_both_engines(|server| async move {
        let other = Server::start(&server.root).await;
        let id = server.begin().await.unwrap();
        let body = bytes(1, PART);
        let one = server.put(&id, 1, &body).await.unwrap();
        let file = inode(&server.in_place(&id, 1));
        assert_eq!(other.complete_copying(&id, &[one]).await, PART as u64);
        assert_ne!(inode(&server.object()), file);
        other.check_object(&body, etag_of(&[&body])).await;
    });
}

#[test]
fn wrong_lists_are_refused_and_the_upload_lives() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let bodies = [bytes(1, PART), bytes(2, PART), bytes(3, 100)];
        let mut list = Vec::new();
        for (body, number) in bodies.iter().zip(1..) {
            list.push(server.put(&id, number, body).await.unwrap());
        }
        let [one, two, three] = [list[0].clone(), list[1].clone(), list[2].clone()];
        let missing = ListedPart { number: number_of(9), ..one.clone() };
        let wrong = ListedPart { etag: two.etag.clone(), ..one.clone() };
        let crc = Checksum::parse(Algorithm::Crc32, "y/Q5Jg==");
        let summed = ListedPart { checksum: crc, ..one.clone() };
        let cases: [(&[ListedPart], Code); 8] = [
            (&[], Code::MalformedXML),
            (&[two.clone(), one.clone()], Code::InvalidPartOrder),
            (&[one.clone(), one.clone()], Code::InvalidPartOrder),
            (&[one.clone(), missing], Code::InvalidPart),
            (&[wrong, two.clone()], Code::InvalidPart),
            (&[summed, two.clone()], Code::InvalidPart),
            (&[ListedPart { etag: "\"x\"".to_owned(), ..one.clone() }], Code::InvalidPart),
            (&[one.clone(), three.clone(), ListedPart { number: number_of(4), ..two.clone() }], Code::InvalidPart),
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
        assert_eq!(server.complete_copying(&id, &[one, three]).await, PART as u64 + 100);
        let whole = [bodies[0].clone(), bodies[2].clone()].concat();
        server.check_object(&whole, etag_of(&[&bodies[0], &bodies[2]])).await;
    });
}

#[test]
fn conditions_hold_at_the_end() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let body = bytes(1, PART);
        let one = server.put(&id, 1, &body).await.unwrap();
        std::fs::create_dir_all(server.root.join("bucket/deep/er")).unwrap();
        std::fs::write(server.object(), b"old").unwrap();
        let list = std::slice::from_ref(&one);
        let error = server.complete_if(&id, list, WriteCondition::Absent).await.unwrap_err();
        assert_eq!(error.code(), Code::PreconditionFailed);
        assert_eq!(server.content().unwrap(), b"old");
        std::fs::remove_file(server.object()).unwrap();
        server.complete_if(&id, list, WriteCondition::Absent).await.unwrap();
        server.check_object(&body, etag_of(&[&body])).await;
    });
}

#[test]
fn a_directory_that_came_between_gives_its_group() {
    on_both_engines(|server| async move {
        let id = server.begin().await.unwrap();
        let body = bytes(1, PART);
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
        server.check_object(&body, etag_of(&[&body])).await;
    });
}

#[test]
fn checksums_of_objects() {
    on_both_engines(|server| async move {
        let bodies = [bytes(1, PART), bytes(2, 100)];
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
                ChecksumType::FullObject => Some(checksum_of(algorithm, &bodies.concat())),
                ChecksumType::Composite => {
                    let of_parts: Vec<_> = bodies.iter().map(|body| checksum_of(algorithm, body)).collect();
                    Checksum::composite(algorithm, &of_parts)
                }
            };
            assert_eq!(server.complete(&id, &list).await.unwrap().checksum, want);
            let object = reader::open(&server.tree, &bucket_name(), &key_path(), ME).await.unwrap();
            assert_eq!(object.metadata(KEY).await.unwrap().checksum, want);
        }
    });
}

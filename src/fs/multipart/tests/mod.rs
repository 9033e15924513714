//! Uploads on a real directory, on both engines: the server that the tests drive, as the operations drive it.
//!
//! `places` says where parts lie and what Complete makes of them, `ends` how uploads end and what is refused, `faults`
//! that no fault at any step harms what was acknowledged. Parts are of the smallest size another may follow.

mod ends;
mod faults;
mod places;

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

use super::complete::{self, Completed, Completion, Destination, Planned};
use super::parts::{self, Arrived, PartFile};
use super::record::{Initiator, UploadRecord};
use super::upload::{self, Upload};
use super::{abort, sweep};
use crate::digest::stream::{Kind, Stream, Wanted};
use crate::fs::bucket::Bucket;
use crate::fs::commit::Target;
use crate::fs::inflight::{self, Instance};
use crate::fs::mount::Filesystem;
use crate::fs::path;
use crate::fs::reader;
use crate::fs::tree::{Durability, Making, Shared, Tree};
use crate::s3::checksum::{Algorithm, Checksum, ChecksumType};
use crate::s3::error::{Code, S3Error};
use crate::s3::etag::{ETag, GivenETag};
use crate::s3::headers::{StoredHeaders, UserMetadata};
use crate::s3::names::{BucketName, ObjectKey, PartNumber, UploadId};
use crate::s3::precondition::WriteCondition;
use crate::s3::xml::multipart::CompletedPart;

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

    async fn put(&self, id: &UploadId, number: u64, body: &Body) -> Result<CompletedPart, S3Error> {
        self.put_then(id, number, body, async || {}).await
    }

    /// Puts a part; `then` runs when its bytes have arrived and its record is not written yet.
    async fn put_then(
        &self,
        id: &UploadId,
        number: u64,
        body: &Body,
        then: impl AsyncFnOnce(),
    ) -> Result<CompletedPart, S3Error> {
        let (bucket, path) = (Bucket::open(&self.tree, &bucket_name(), ME).await?, key_path());
        let target = Target { tree: &self.tree, bucket: &bucket, path: &path, identity: ME };
        let upload = upload::find(&self.tree, &bucket, &key(), id).await?;
        let part = parts::begin(&target, &upload, number_of(number), Some(body.bytes.len() as u64)).await?;
        if let Err(error) = write(&part, &body.bytes).await {
            part.abandon().await;
            return Err(error);
        }
        then().await;
        let checksum = upload.record.checksum.map(|(algorithm, _)| checksum_of(algorithm, &body.bytes));
        let size_bytes = body.bytes.len() as u64;
        part.commit(Arrived { size_bytes, md5: body.md5, checksum, now_ns: number }).await?;
        let etag = given(ETag::of_md5(body.md5));
        let checksums = checksum.into_iter().collect();
        Ok(CompletedPart { part_number: number_of(number), etag, checksums })
    }

    async fn plan(&self, id: &UploadId, completion: &Completion) -> Result<Planned, S3Error> {
        let bucket = Bucket::open(&self.tree, &bucket_name(), ME).await?;
        let (tree, path) = (self.tree.clone(), key_path());
        let destination = Destination { tree, bucket, key: key(), path, identity: ME };
        complete::plan(destination, id, || Ok(completion.clone())).await
    }

    async fn complete(&self, id: &UploadId, parts: &[CompletedPart]) -> Result<Completed, S3Error> {
        self.complete_if(id, parts, WriteCondition::Unconditional).await
    }

    async fn complete_if(
        &self,
        id: &UploadId,
        parts: &[CompletedPart],
        condition: WriteCondition,
    ) -> Result<Completed, S3Error> {
        match self.plan(id, &Completion { condition, ..listed(parts) }).await? {
            Planned::Done(completed) => Ok(completed),
            Planned::Ready(plan) => plan.run(time::unix_ns()).await,
        }
    }

    /// Completes; want: how many bytes are copied for it, where the filesystem cannot share them.
    async fn check_copied(&self, id: &UploadId, parts: &[CompletedPart], want: usize) {
        match self.plan(id, &listed(parts)).await.expect("the list is right") {
            Planned::Done(_) => panic!("nothing was completed before"),
            Planned::Ready(plan) => {
                let (copied, filesystem) = (plan.copied_bytes(), self.bucket().await.mount.filesystem);
                match filesystem {
                    Filesystem::Xfs | Filesystem::Btrfs => assert!(copied <= want as u64, "{copied}"),
                    Filesystem::Ext4 | Filesystem::Tmpfs | Filesystem::Overlay | Filesystem::Other(_) => {
                        assert_eq!(copied, want as u64);
                    }
                }
                plan.run(time::unix_ns()).await.expect("it completes");
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
                // A sidecar is the object's.
                if path.is_dir() && (path.ends_with("inflight") || path.ends_with("overflow")) {
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

    async fn check_object(&self, want: &[&Body]) {
        let (bytes, want_etag) = (joined(want), etag_of(want));
        assert!(
            self.content().is_some_and(|content| content == bytes),
            "the bytes are not those of the parts"
        );
        assert_eq!(self.names(), [format!("bucket/{KEY}")]);
        assert_eq!(self.left(), [""; 0], "nothing of the upload is left");
        let object =
            reader::open(&self.tree, &bucket_name(), &key_path(), ME).await.expect("it is an object");
        let metadata =
            object.metadata(&self.tree, &bucket_name(), KEY).await.expect("its attributes are read");
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

fn given(etag: ETag) -> GivenETag {
    GivenETag::parse(&etag.quoted())
}

fn number_of(number: u64) -> PartNumber {
    PartNumber::new(number).unwrap()
}

fn listed(parts: &[CompletedPart]) -> Completion {
    Completion {
        parts: parts.to_vec(),
        condition: WriteCondition::Unconditional,
        object_bytes: None,
        checksum: None,
        checksum_type: None,
    }
}

/// The bytes of a part and their MD5, which the sweeps of faults would otherwise take hundreds of times.
#[derive(Clone)]
struct Body {
    bytes: Vec<u8>,
    md5: [u8; 16],
}

/// A body that differs from block to block and from seed to seed.
fn body(seed: u64, length: usize) -> Body {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    Body { md5: md5(&bytes), bytes }
}

fn joined(bodies: &[&Body]) -> Vec<u8> {
    bodies.iter().flat_map(|body| body.bytes.iter().copied()).collect()
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

fn etag_of(bodies: &[&Body]) -> ETag {
    let md5s: Vec<u8> = bodies.iter().flat_map(|body| body.md5).collect();
    ETag::of_parts(md5(&md5s), bodies.len() as u16)
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

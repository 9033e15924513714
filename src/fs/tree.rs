//! The served tree: the root directory, what all cores share of it, and how files are made in it.
//!
//! One `Tree` a core over one `Shared` a server. It opens nothing of a request; buckets and objects have files of their
//! own. Source: DESIGN rules as written down in ARCHITECTURE.md, "On disk".

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use uring::errno::Errno;
use uring::file::{self, File, Opening};
use uring::identity::Identity;
use uring::lane::Reach;
use uring::lock::{self, Held, Hold};
use uring::stat;

use super::crossing::Crossings;
use super::fresh::Fresh;
use super::inflight::{Instance, Table};
use super::key_lock::KeyLocks;
use super::mount::{Attributes, Mount, MountKey};
use super::multipart::claims::Claims;
use super::overflow::InFlight;

/// What a 200 to a write promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing across a power cut.
    None,
    /// The bytes of every name that survives are whole.
    Data,
    /// Bytes and name survive.
    Full,
}

/// How files are made.
#[derive(Clone, Copy, Debug)]
pub struct Making {
    /// What a 200 promises.
    pub durability: Durability,
    /// Permission bits of objects.
    pub file_mode: u32,
    /// Permission bits of directories.
    pub directory_mode: u32,
}

/// What all cores of a server share of the tree.
pub struct Shared {
    /// The locks of keys.
    pub locks: Arc<KeyLocks>,
    /// Which parts of multipart uploads are being written where.
    pub uploads: Arc<Claims>,
    /// This server among those on the tree.
    pub instance: Instance,
    /// Names that are being replaced, for whoever reads their directory.
    pub fresh: Arc<Fresh>,
    /// Sidecars whose objects may not have their names yet.
    pub sidecars: InFlight,
    mounts: Mutex<HashMap<MountKey, Arc<Mount>>>,
    tables: Mutex<HashMap<String, Arc<Table>>>,
    // Directories that were made and are not yet known durable: while there are some, a write into a directory that it
    // did not make itself flushes the whole chain up to the bucket.
    unsettled: AtomicUsize,
    names_hidden: AtomicU64,
    // By inode and birth time. The flag of a directory cannot change once it has an entry.
    casings: Mutex<HashMap<(u64, i64), Casing>>,
    has_folded: AtomicBool,
}

/// What the case of a letter means in the names of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Casing {
    /// Names that differ in it are two.
    Kept,
    /// They are one, so two keys would be one file.
    Folded,
}

impl Shared {
    /// The state of a server that starts now.
    pub fn new(instance: Instance) -> Shared {
        Shared {
            locks: Arc::default(),
            uploads: Arc::default(),
            instance,
            fresh: Arc::default(),
            sidecars: InFlight::default(),
            mounts: Mutex::default(),
            tables: Mutex::default(),
            unsettled: AtomicUsize::new(0),
            names_hidden: AtomicU64::new(0),
            casings: Mutex::default(),
            has_folded: AtomicBool::new(false),
        }
    }

    /// What is known of a bucket's casing; `bucket` is its inode and birth time.
    pub(super) fn casing(&self, bucket: (u64, i64)) -> Option<Casing> {
        self.casings.lock().expect("no holder of the lock panics").get(&bucket).copied()
    }

    /// Remembers a bucket's casing; whether that is news.
    pub(super) fn add_casing(&self, bucket: (u64, i64), casing: Casing) -> bool {
        if casing == Casing::Folded {
            self.has_folded.store(true, Ordering::Relaxed);
        }
        self.casings.lock().expect("no holder of the lock panics").insert(bucket, casing).is_none()
    }

    /// Whether a bucket is known whose names are folded.
    pub(super) fn has_folded(&self) -> bool {
        self.has_folded.load(Ordering::Relaxed)
    }

    /// The mount with this identity, when it has been probed.
    pub fn mount(&self, key: MountKey) -> Option<Arc<Mount>> {
        self.mounts.lock().expect("no holder of the lock panics").get(&key).cloned()
    }

    /// All mounts that have been probed.
    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        self.mounts.lock().expect("no holder of the lock panics").values().cloned().collect()
    }

    /// Forgets a mount whose number another one has got.
    pub(super) fn forget_mount(&self, key: MountKey) {
        self.mounts.lock().expect("no holder of the lock panics").remove(&key);
    }

    /// Adds a probed mount; the first probe of an identity stays.
    pub fn add_mount(&self, mount: Mount) -> Arc<Mount> {
        let mut mounts = self.mounts.lock().expect("no holder of the lock panics");
        mounts.entry(mount.key).or_insert_with(|| Arc::new(mount)).clone()
    }

    /// The in-flight table of a bucket, when this server has one.
    pub(super) fn table(&self, bucket_id: &str) -> Option<Arc<Table>> {
        self.tables.lock().expect("no holder of the lock panics").get(bucket_id).cloned()
    }

    /// Adds the in-flight table of a bucket; the first one stays, for without a lock two cores may add it.
    pub(super) fn add_table(&self, bucket_id: &str, table: Table) -> Arc<Table> {
        let mut tables = self.tables.lock().expect("no holder of the lock panics");
        tables.entry(bucket_id.to_owned()).or_insert_with(|| Arc::new(table)).clone()
    }

    /// Forgets the in-flight table of a bucket that has been removed; false when there is none, or a note stands in it.
    pub(super) fn forget_table(&self, bucket_id: &str) -> bool {
        let mut tables = self.tables.lock().expect("no holder of the lock panics");
        let is_idle = tables.get(bucket_id).is_some_and(|table| Arc::strong_count(table) == 1);
        is_idle && tables.remove(bucket_id).is_some()
    }

    /// Counts names on disk that are no keys and were left out of a listing.
    pub fn hide_names(&self, count: u64) {
        self.names_hidden.fetch_add(count, Ordering::Relaxed);
    }

    /// How many names were left out of listings.
    pub fn names_hidden(&self) -> u64 {
        self.names_hidden.load(Ordering::Relaxed)
    }

    /// Announces directories that are about to be made.
    pub fn begin_unsettled(self: &Arc<Self>) -> Unsettled {
        self.unsettled.fetch_add(1, Ordering::SeqCst);
        Unsettled(self.clone())
    }

    /// Whether somebody's new directories may not be durable yet.
    pub fn has_unsettled(&self) -> bool {
        self.unsettled.load(Ordering::SeqCst) > 0
    }
}

/// New directories of one write. A value that is dropped leaves them unsettled for good: their flush has failed or never
/// came, so every later write flushes the whole chain above it.
#[must_use]
pub struct Unsettled(Arc<Shared>);

impl Unsettled {
    /// Says that they are durable, or gone.
    pub fn settled(self) {
        self.0.unsettled.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The served tree as one core sees it.
pub struct Tree {
    /// The root directory, open for reading.
    pub root: File,
    /// The mount identity of the root.
    pub root_mount_id: u64,
    /// The same, as the key of what is known of the mount.
    pub root_mount: MountKey,
    /// What all cores share.
    pub shared: Arc<Shared>,
    /// How files are made.
    pub making: Making,
    // This core's descriptors of the in-flight tables, by bucket id.
    pub(super) table_files: RefCell<HashMap<String, File>>,
    // What this core knows of buckets on other mounts.
    pub(super) crossings: Crossings,
}

/// The server's own directory at the top of a filesystem.
pub const OWN_DIRECTORY: &std::ffi::CStr = c".ringway";

impl Tree {
    /// Opens the root for a core. A plain call that may block: at start only.
    pub fn open(root: &Path, shared: Arc<Shared>, making: Making) -> Result<Rc<Tree>, Errno> {
        let root = file::open_at_start(root, libc::O_RDONLY | libc::O_DIRECTORY)?;
        let stat = stat::stat(&root)?;
        let (root_mount_id, root_mount) = (stat.mount_id, MountKey::of(&stat));
        root.belongs_to_mount(root_mount_id, Reach::Remote);
        let (table_files, crossings) = (RefCell::default(), Crossings::default());
        Ok(Rc::new(Tree { root, root_mount_id, root_mount, shared, making, table_files, crossings }))
    }

    /// Opens the server's own directory below `top`, making it when it is missing; mode 0711 lets others pass to what
    /// they may see.
    pub async fn own_directory(top: &File) -> Result<File, Errno> {
        open_or_make(top, OWN_DIRECTORY, 0o711).await
    }

    /// Probes the root's mount unless that has been done; each core does it before it is ready.
    pub async fn probe_root(&self) -> Result<Arc<Mount>, Errno> {
        let mount = self.probe(&self.root, self.root_mount).await?;
        self.root.belongs_to_mount(self.root_mount_id, mount.reach());
        Ok(mount)
    }

    /// What is known of a mount: one that has not been probed may not answer.
    pub(super) fn reach(&self, mount: MountKey) -> Reach {
        self.shared.mount(mount).map_or(Reach::Remote, |mount| mount.reach())
    }

    /// Where the attributes of an open file come from; of a mount that nobody has probed it may be anywhere.
    pub(super) fn attributes_of(&self, stat: &stat::Stat) -> Attributes {
        self.shared.mount(MountKey::of(stat)).map_or(Attributes::Remote, |mount| mount.attributes())
    }

    pub(super) async fn probe(&self, top: &File, key: MountKey) -> Result<Arc<Mount>, Errno> {
        if let Some(mount) = self.shared.mount(key) {
            return Ok(mount);
        }
        let own = Tree::own_directory(top).await?;
        let mount = Mount::probe(&own).await?;
        if !mount.has_locks {
            tracing::warn!(
                "{}: no file locks (flock), so nobody can tell which servers live: temporary names and uploads that a \
                 killed server leaves are not removed, and of two servers here either may end an upload",
                mount.filesystem
            );
        }
        Ok(self.shared.add_mount(mount))
    }

    /// Locks an open file alone, by the way that stops no core.
    ///
    /// Errors: EAGAIN when another description of it is in the way; anything else where there are no locks.
    pub(super) async fn try_lock(&self, file: &File) -> Result<Held, Errno> {
        match self.attributes_of(&stat::stat_cached(file)?) {
            Attributes::Local => lock::try_lock(file),
            Attributes::Remote => lock::try_lock_slow(file, Hold::Exclusive).await,
        }
    }
}

/// Opens a directory for reading, making it when it is missing.
pub(super) async fn open_or_make(parent: &File, name: &std::ffi::CStr, mode: u32) -> Result<File, Errno> {
    let me = Identity::SERVER;
    match file::make_directory(parent, CString::from(name), mode, me).await {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    file::open(parent, CString::from(name), own_directory_opening(), me).await
}

/// How the server opens directories of its own.
pub(super) fn own_directory_opening() -> Opening {
    Opening { flags: libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH }
}

/// How every path of a request is resolved: below its directory, through no link.
pub const BENEATH: u64 = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS | libc::RESOLVE_NO_SYMLINKS;

//! The in-flight table: temporary names that exist or are about to, so that a killed server leaves none behind.
//!
//! One file an instance and bucket, locked while the server lives. A name is noted before it is made and never struck
//! out: names are random, so a stale note removes nothing. At start the tables whose lock can be taken are swept.
//! Notes are not flushed: a table that was not written in this boot of this machine may lack some, and stays until
//! `leftovers` has walked its bucket. Source: flock(2), random(4) for the identity of a boot.

use std::ffi::{CStr, CString};
use std::sync::{Arc, Mutex};

use uring::errno::Errno;
use uring::file::{self, File, Opening, Sync};
use uring::identity::Identity;
use uring::lock::Held;
use uring::time;

use super::bucket::{Bucket, Store, settle_store};
use super::entries;
use super::tree::{BENEATH, Durability, Tree};
use super::writer;

/// One run of one server, as it stands in temporary names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance(String);

impl Instance {
    /// A new instance.
    pub fn new() -> Instance {
        Instance(random_hex())
    }

    /// The instance's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Instance {
    fn default() -> Instance {
        Instance::new()
    }
}

/// Sixteen digits that nobody can guess.
pub(super) fn random_hex() -> String {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the kernel's randomness never fails after boot");
    format!("{:016x}", u64::from_ne_bytes(bytes))
}

/// What every temporary name begins with; such names are reserved at every depth.
pub const TEMPORARY_PREFIX: &str = ".ringway-tmp-";

/// A name that nobody has: `.ringway-tmp-<of>-<random>`.
pub fn random_name(of: &str) -> CString {
    CString::new(format!("{TEMPORARY_PREFIX}{of}-{}", random_hex())).expect("hex digits hold no NUL")
}

/// The boot of this machine that a table was written in, 36 digits and dashes; empty where the kernel does not say.
fn boot() -> Vec<u8> {
    // Memory of the kernel, so a plain call does not wait.
    let mut boot = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot.truncate(boot.trim_ascii_end().len());
    boot
}

/// Bytes of one note: a path of at most 1,024 bytes, a name, and their lengths.
const NOTE_BYTES: usize = 2048;

/// The table of one bucket in this server.
pub struct Table {
    // None where the filesystem has no locks: then every server that has a table is taken for a living one.
    _held: Option<Held>,
    slots: Mutex<Slots>,
}

struct Slots {
    free: Vec<u64>,
    next: u64,
}

impl Default for Slots {
    fn default() -> Slots {
        // The first place is the boot's.
        Slots { free: Vec::new(), next: 1 }
    }
}

/// A note that stands; its place is used again when this is dropped.
pub struct Note {
    table: Arc<Table>,
    slot: u64,
}

impl Drop for Note {
    fn drop(&mut self) {
        self.table.slots.lock().expect("no holder of the lock panics").free.push(self.slot);
    }
}

/// Notes that `name` is about to be made in the directory `path` of a bucket; `path` is empty for the bucket itself.
pub async fn note(tree: &Tree, bucket: &Bucket, path: &CStr, name: &CStr) -> Result<Note, Errno> {
    let (table, table_file) = table_of(tree, bucket).await?;
    let slot = {
        let mut slots = table.slots.lock().expect("no holder of the lock panics");
        slots.free.pop().unwrap_or_else(|| {
            slots.next += 1;
            slots.next - 1
        })
    };
    let note = Note { table, slot };
    let record = encode(path.to_bytes(), name.to_bytes());
    file::write_bytes(&table_file, record, slot * NOTE_BYTES as u64, Identity::SERVER).await?;
    Ok(note)
}

fn encode(path: &[u8], name: &[u8]) -> Box<[u8]> {
    let mut record = Vec::with_capacity(NOTE_BYTES);
    record.extend((path.len() as u16).to_le_bytes());
    record.extend((name.len() as u16).to_le_bytes());
    record.extend(path);
    record.extend(name);
    assert!(record.len() <= NOTE_BYTES, "keys are at most 1,024 bytes, names at most 255");
    record.resize(NOTE_BYTES, 0);
    record.into()
}

fn decode(record: &[u8]) -> Option<(CString, CString)> {
    let (lengths, rest) = record.split_first_chunk::<4>()?;
    let path_bytes = usize::from(u16::from_le_bytes([lengths[0], lengths[1]]));
    let name_bytes = usize::from(u16::from_le_bytes([lengths[2], lengths[3]]));
    let path = rest.get(..path_bytes)?;
    let name = rest.get(path_bytes..path_bytes + name_bytes)?;
    // Only names of this kind are ever removed, whatever the table says.
    if !name.starts_with(TEMPORARY_PREFIX.as_bytes()) || name.contains(&b'/') {
        return None;
    }
    Some((CString::new(path).ok()?, CString::new(name).ok()?))
}

async fn table_of(tree: &Tree, bucket: &Bucket) -> Result<(Arc<Table>, File), Errno> {
    let id = bucket.id();
    let known = tree.table_files.borrow().get(&id).cloned();
    if let (Some(table), Some(file)) = (tree.shared.table(&id), known) {
        return Ok((table, file));
    }
    let directory = bucket.store(tree, Store::Inflight).await?;
    let name = CString::new(tree.shared.instance.as_str()).expect("hex digits hold no NUL");
    let opening =
        Opening { flags: libc::O_RDWR | libc::O_CREAT | libc::O_NOFOLLOW, mode: 0o600, resolve: BENEATH };
    let (table, table_file) = loop {
        let table_file = file::open(&directory, name.clone(), opening, Identity::SERVER).await?;
        if let Some(table) = tree.shared.table(&id) {
            break (table, table_file);
        }
        let held = match tree.try_lock(&table_file).await {
            // Another core of this server holds it and is about to add the table, or a sweep looks into it.
            Err(Errno::AGAIN) => {
                time::sleep(std::time::Duration::from_millis(1)).await;
                continue;
            }
            // There are no locks here; the probe of the mount has said so.
            held => held.ok(),
        };
        // A sweep that came between open and lock took it for one that was left behind, and has unlinked it.
        if !writer::is_gone(&bucket.mount, &table_file).await {
            begin(tree, &directory, &table_file).await?;
            let table = Table { _held: held, slots: Mutex::default() };
            break (tree.shared.add_table(&id, table), table_file);
        }
    };
    tree.table_files.borrow_mut().insert(id, table_file.clone());
    Ok((table, table_file))
}

/// Writes the head of a new table and makes the table itself durable: after a power cut it tells that names may have been
/// left, even those whose notes are lost.
async fn begin(tree: &Tree, directory: &File, table_file: &File) -> Result<(), Errno> {
    file::write_bytes(table_file, boot().into(), 0, Identity::SERVER).await?;
    if tree.making.durability < Durability::Full {
        return Ok(());
    }
    file::sync(table_file, Sync::Content).await?;
    settle_store(tree, directory).await
}

/// Makes this server known as alive in a bucket, before anything there carries its name.
pub(super) async fn announce(tree: &Tree, bucket: &Bucket) -> Result<(), Errno> {
    table_of(tree, bucket).await.map(|_| ())
}

/// Whether the server of an instance lives, among those that have announced themselves in a bucket.
pub(super) async fn is_alive(tree: &Tree, bucket: &Bucket, instance: &str) -> Result<bool, Errno> {
    if instance == tree.shared.instance.as_str() {
        return Ok(true);
    }
    match bucket.existing_store(tree, Store::Inflight).await? {
        Some(directory) => is_alive_in(tree, &directory, instance).await,
        None => Ok(false),
    }
}

/// Whether the server of an instance lives that has its table in `directory`, if it is another than this one.
///
/// Shape: true where that cannot be told.
pub(super) async fn is_alive_in(tree: &Tree, directory: &File, instance: &str) -> Result<bool, Errno> {
    let Ok(name) = CString::new(instance) else { return Ok(false) };
    let opening = Opening { flags: libc::O_RDWR | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };
    match file::open(directory, name, opening, Identity::SERVER).await {
        Ok(table) => match tree.try_lock(&table).await {
            Ok(held) => {
                // Whoever asks next must not find this lock.
                held.release().await;
                Ok(false)
            }
            Err(_) => Ok(true),
        },
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the tables of a bucket that has been removed; that of another server that lives stays, and this server's while a
/// note stands.
pub(super) async fn forget(tree: &Tree, bucket: &Bucket) -> Result<(), Errno> {
    let swept = sweep(tree, bucket).await?;
    // With the bucket all names in it have gone.
    forget_tables(tree, bucket, swept.doubtful).await?;
    let id = bucket.id();
    let Some(directory) = bucket.existing_store(tree, Store::Inflight).await? else { return Ok(()) };
    if tree.shared.forget_table(&id) {
        tree.table_files.borrow_mut().remove(&id);
        let name = CString::new(tree.shared.instance.as_str()).expect("hex digits hold no NUL");
        file::unlink(&directory, name, 0, Identity::SERVER).await?;
    }
    Ok(())
}

/// What a sweep has done, and what it could not know.
#[derive(Debug, Default)]
pub struct Swept {
    /// Names that were removed.
    pub removed: usize,
    /// Tables that may lack notes; they stay until somebody has walked the bucket.
    pub doubtful: Vec<CString>,
}

/// Removes the temporary names that servers which are gone have noted in a bucket.
pub async fn sweep(tree: &Tree, bucket: &Bucket) -> Result<Swept, Errno> {
    let mut swept = Swept::default();
    let Some(directory) = bucket.existing_store(tree, Store::Inflight).await? else { return Ok(swept) };
    let boot = boot();
    loop {
        let entries = entries::read(&directory).await?;
        if entries.is_empty() {
            return Ok(swept);
        }
        for entry in entries {
            let name = CString::new(entry.name).expect("a directory entry holds no NUL");
            let Ok(Some((table, held))) = take_left(tree, bucket, &directory, &name).await else { continue };
            let done = sweep_locked(bucket, &directory, (name, &table), &boot, &mut swept).await;
            // Whoever asks next whether the server lives must not find this lock.
            held.release().await;
            done?;
        }
    }
}

/// Opens the table of a server that lives no more and locks it, so that nobody else takes it in hand; none when its server
/// lives, this one included, and when it has gone.
async fn take_left(
    tree: &Tree,
    bucket: &Bucket,
    directory: &File,
    name: &CStr,
) -> Result<Option<(File, Held)>, Errno> {
    let opening = Opening { flags: libc::O_RDWR | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };
    let table = match file::open(directory, CString::from(name), opening, Identity::SERVER).await {
        Ok(table) => table,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let Ok(held) = tree.try_lock(&table).await else { return Ok(None) };
    // Another server has removed it meanwhile, and the name may be a living one's by now.
    if writer::is_gone(&bucket.mount, &table).await {
        held.release().await;
        return Ok(None);
    }
    Ok(Some((table, held)))
}

/// Removes what a table has noted, and the table unless it may lack notes.
async fn sweep_locked(
    bucket: &Bucket,
    directory: &File,
    (name, table): (CString, &File),
    boot: &[u8],
    swept: &mut Swept,
) -> Result<(), Errno> {
    swept.removed += sweep_table(bucket, table).await?;
    if boot.is_empty() || file::read_bytes(table, boot.len(), 0).await? != boot {
        swept.doubtful.push(name);
        return Ok(());
    }
    file::unlink(directory, name, 0, Identity::SERVER).await
}

/// Removes tables that lacked notes, once their bucket has been walked.
pub(super) async fn forget_tables(tree: &Tree, bucket: &Bucket, names: Vec<CString>) -> Result<(), Errno> {
    let Some(directory) = bucket.existing_store(tree, Store::Inflight).await? else { return Ok(()) };
    for name in names {
        // The sweep may have met a server between opening its table and locking it: that one lives.
        let Some((_table, held)) = take_left(tree, bucket, &directory, &name).await? else { continue };
        let unlinked = file::unlink(&directory, name, 0, Identity::SERVER).await;
        held.release().await;
        match unlinked {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The instance that a temporary name of a bucket's tree belongs to.
///
/// Shape: none unless it is a name as [`random_name`] makes them for instances.
pub(super) fn instance_of(name: &[u8]) -> Option<&str> {
    let rest = name.strip_prefix(TEMPORARY_PREFIX.as_bytes())?;
    let (instance, random) = std::str::from_utf8(rest).ok()?.split_once('-')?;
    let is_hex =
        |text: &str| text.len() == 16 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex(instance) && is_hex(random)).then_some(instance)
}

async fn sweep_table(bucket: &Bucket, table: &File) -> Result<usize, Errno> {
    let mut removed = 0;
    for slot in 1.. {
        let record = file::read_bytes(table, NOTE_BYTES, slot * NOTE_BYTES as u64).await?;
        if record.is_empty() {
            break;
        }
        let Some((path, name)) = decode(&record) else { continue };
        let path = if path.is_empty() { CString::from(c".") } else { path };
        let opening = Opening { flags: libc::O_PATH | libc::O_DIRECTORY, mode: 0, resolve: BENEATH };
        let Ok(parent) = file::open(&bucket.directory, path, opening, Identity::SERVER).await else {
            continue;
        };
        if file::unlink(&parent, name, 0, Identity::SERVER).await.is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_as_it_was_written() {
        for (path, name) in [("", ".ringway-tmp-a-b"), ("a/b", ".ringway-tmp-1-2")] {
            let record = encode(path.as_bytes(), name.as_bytes());
            assert_eq!(record.len(), NOTE_BYTES);
            assert_eq!(decode(&record), Some((CString::new(path).unwrap(), CString::new(name).unwrap())));
        }
    }

    #[test]
    fn a_forged_note_names_nothing() {
        for (path, name) in [("", "object"), ("a", ".ringway-tmp-x/../../etc"), ("", "")] {
            assert_eq!(decode(&encode(path.as_bytes(), name.as_bytes())), None, "{name}");
        }
        assert_eq!(decode(&[0xFF; NOTE_BYTES]), None);
        assert_eq!(decode(&[0; NOTE_BYTES]), None);
        assert_eq!(decode(&[1, 0]), None);
    }

    #[test]
    fn a_temporary_name_says_whose_it_is() {
        let instance = Instance::new();
        let name = random_name(instance.as_str());
        assert_eq!(instance_of(name.to_bytes()), Some(instance.as_str()));
        for other in
            [".ringway-tmp-0123456789abcdef", ".ringway-tmp-probe-0123456789abcdef", "object", ".ringway"]
        {
            assert_eq!(instance_of(other.as_bytes()), None, "{other}");
        }
    }
}

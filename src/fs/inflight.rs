//! The in-flight table: temporary names that exist or are about to, so that a killed server leaves none behind.
//!
//! One file an instance and bucket, locked while the server lives. A name is noted before it is made and never struck
//! out: names are random, so a stale note removes nothing. At start the tables whose lock can be taken are swept.
//! What a power cut made of the table itself is found by the walk over names. Source: flock(2).

use std::ffi::{CStr, CString};
use std::sync::{Arc, Mutex};

use uring::errno::Errno;
use uring::file::{self, File, Opening};
use uring::identity::Identity;
use uring::lock::Held;
use uring::time;

use super::bucket::{Bucket, Store};
use super::tree::{BENEATH, Tree};
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

/// Bytes of one note: a path of at most 1,024 bytes, a name, and their lengths.
const NOTE_BYTES: usize = 2048;

/// The table of one bucket in this server.
pub struct Table {
    // None where the filesystem has no locks: then every server that has a table is taken for a living one.
    _held: Option<Held>,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    free: Vec<u64>,
    next: u64,
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
            let table = Table { _held: held, slots: Mutex::default() };
            break (tree.shared.add_table(&id, table), table_file);
        }
    };
    tree.table_files.borrow_mut().insert(id, table_file.clone());
    Ok((table, table_file))
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
        Ok(table) => Ok(tree.try_lock(&table).await.is_err()),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the tables of a bucket that has been removed; that of another server that lives stays, and this server's while a
/// note stands.
pub(super) async fn forget(tree: &Tree, bucket: &Bucket) -> Result<(), Errno> {
    sweep(tree, bucket).await?;
    let id = bucket.id();
    let Some(directory) = bucket.existing_store(tree, Store::Inflight).await? else { return Ok(()) };
    if tree.shared.forget_table(&id) {
        tree.table_files.borrow_mut().remove(&id);
        let name = CString::new(tree.shared.instance.as_str()).expect("hex digits hold no NUL");
        file::unlink(&directory, name, 0, Identity::SERVER).await?;
    }
    Ok(())
}

/// Removes the temporary names that servers which are gone have left in a bucket; returns how many.
pub async fn sweep(tree: &Tree, bucket: &Bucket) -> Result<usize, Errno> {
    let Some(directory) = bucket.existing_store(tree, Store::Inflight).await? else { return Ok(0) };
    let mut removed = 0;
    loop {
        let entries = file::read_directory(&directory).await?;
        if entries.is_empty() {
            return Ok(removed);
        }
        for entry in entries {
            let name = CString::new(entry.name).expect("a directory entry holds no NUL");
            let opening = Opening { flags: libc::O_RDWR | libc::O_NOFOLLOW, mode: 0, resolve: BENEATH };
            let Ok(table) = file::open(&directory, name.clone(), opening, Identity::SERVER).await else {
                continue;
            };
            // A lock that is held is a server that lives, this one included.
            let Ok(_held) = tree.try_lock(&table).await else { continue };
            // Another server has swept it meanwhile, and the name may be a living one's by now.
            if writer::is_gone(&bucket.mount, &table).await {
                continue;
            }
            removed += sweep_table(bucket, &table).await?;
            file::unlink(&directory, name, 0, Identity::SERVER).await?;
        }
    }
}

async fn sweep_table(bucket: &Bucket, table: &File) -> Result<usize, Errno> {
    let mut removed = 0;
    for slot in 0.. {
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
}

//! What a server opens before any core runs: the root, the state directory with its lock, the root key.
//! When it fails it leaves at most empty directories and a lock file. Sockets, cores and the control thread come after it.
//! Source: mkdir(2), realpath(3).

use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::server::config::Config;
use crate::server::root_key::{RootKey, RootKeyError};
use crate::server::setting::SettingError;
use crate::server::state_dir::{StateDir, StateDirError};

/// The operator's own root key, as the environment has it.
#[derive(Default)]
pub struct GivenRootKey {
    /// `RINGWAY_ROOT_ACCESS_KEY`.
    pub access_key_id: Option<String>,
    /// `RINGWAY_ROOT_SECRET_KEY`.
    pub secret_access_key: Option<Zeroizing<String>>,
}

/// What is open when the cores may start.
#[derive(Debug)]
pub struct Opened {
    /// The configuration with ROOT and state directory resolved: absolute, without symbolic links.
    pub config: Config,
    /// Held until the server ends.
    pub state_dir: StateDir,
    /// Root's pair.
    pub root_key: Arc<RootKey>,
}

/// Why a server does not start.
#[derive(Debug)]
pub enum StartError {
    /// A directory cannot be made or resolved.
    Directory(PathBuf, io::Error),
    /// The configuration contradicts itself.
    Setting(SettingError),
    /// The state directory is in use, or not safe.
    StateDir(StateDirError),
    /// There is no usable root key.
    RootKey(RootKeyError),
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Directory(path, source) => write!(out, "cannot open {}: {source}", path.display()),
            StartError::Setting(error) => error.fmt(out),
            StartError::StateDir(error) => error.fmt(out),
            StartError::RootKey(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for StartError {}

/// Makes what is missing and takes what one server alone may have.
/// Errors: see `StartError`; the operator's own key is judged first, before anything is made.
pub fn open(mut config: Config, given: GivenRootKey) -> Result<Opened, StartError> {
    config.check().map_err(StartError::Setting)?;
    let given = RootKey::from_environment(given.access_key_id, given.secret_access_key, &config.listen)
        .map_err(StartError::RootKey)?;
    config.root = make_and_resolve(&config.root, config.dir_mode.bits())?;
    config.state_dir = resolve_last_unmade(&config.state_dir)?;
    // Again, without symbolic links: by its real name the state directory may lie in ROOT as a bucket.
    config.check().map_err(StartError::Setting)?;
    let state_dir = StateDir::open(&config.state_dir).map_err(StartError::StateDir)?;
    let root_key = match given {
        Some(key) => key,
        None => RootKey::open(&state_dir).map_err(StartError::RootKey)?,
    };
    Ok(Opened { config, state_dir, root_key: Arc::new(root_key) })
}

fn make_and_resolve(path: &Path, mode: u32) -> Result<PathBuf, StartError> {
    // Missing parents too: `ringway serve ./data` on an empty directory is the first thing people do.
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| StartError::Directory(path.to_path_buf(), source))?;
    resolve(path)
}

/// Resolves the parent, which must exist: a typing error in a path that the operator named makes no new tree.
/// The last name may be missing still, and must not be a symbolic link: `StateDir` refuses one.
fn resolve_last_unmade(path: &Path) -> Result<PathBuf, StartError> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => {
            Ok(resolve(Path::new("."))?.join(name))
        }
        (Some(parent), Some(name)) => Ok(resolve(parent)?.join(name)),
        (None, _) | (_, None) => resolve(path),
    }
}

fn resolve(path: &Path) -> Result<PathBuf, StartError> {
    path.canonicalize().map_err(|source| StartError::Directory(path.to_path_buf(), source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::root_key::Origin;
    use std::os::unix::fs::symlink;

    fn given(id: &str, secret: &str) -> GivenRootKey {
        let secret_access_key = Some(Zeroizing::new(secret.to_owned()));
        GivenRootKey { access_key_id: Some(id.to_owned()), secret_access_key }
    }

    fn check_refused(name: &str, config: Config, key: GivenRootKey, part: &str) {
        let error = open(config, key).expect_err(name).to_string();
        assert!(error.contains(part), "{name}: {error}");
    }

    #[test]
    fn the_root_is_made_and_a_second_server_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("deep/data");
        let first = open(Config::new(root.clone()), GivenRootKey::default()).expect("opened");
        assert_eq!(first.config.root, root.canonicalize().expect("made"));
        assert_eq!(first.root_key.origin(), Origin::Generated);
        let part = format!("in use by process {}", std::process::id());
        check_refused("second", Config::new(root.clone()), GivenRootKey::default(), &part);
        let mut beside = Config::new(root);
        beside.state_dir = dir.path().join("state-b");
        open(beside, GivenRootKey::default()).expect("another state directory on the same tree");
    }

    #[test]
    fn the_operators_key_wins_and_is_not_stored() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("data");
        check_refused("short", Config::new(root.clone()), given("root", "short"), "8 to 128");
        assert!(!root.exists(), "nothing is made for a key that is refused");
        let opened = open(Config::new(root), given("root", "long-enough")).expect("opened");
        assert_eq!(opened.root_key.access_key_id(), "root");
        assert!(RootKey::read(opened.state_dir.path()).expect("readable").is_none());
    }

    #[test]
    fn a_state_directory_that_is_a_bucket_by_its_real_name_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("data");
        std::fs::create_dir(&root).expect("mkdir");
        symlink(&root, dir.path().join("link")).expect("symlink");
        let mut config = Config::new(root.clone());
        config.state_dir = dir.path().join("link/state");
        check_refused("through a link", config, GivenRootKey::default(), "would be a bucket");
        assert!(!root.join("state").exists(), "a refused state directory is not made");
        let mut config = Config::new(root);
        config.state_dir = dir.path().join("missing/state");
        check_refused("no parent", config, GivenRootKey::default(), "missing: No such file");
        std::fs::write(dir.path().join("file"), b"").expect("write");
        check_refused("a file", Config::new(dir.path().join("file")), GivenRootKey::default(), "cannot open");
    }
}

//! The root user's key pair: from the environment, else from the state directory, else made at the first start.
//! It owns the rules for operator-chosen keys and the key file; who root is and what root may do is `auth`'s.
//! There is no built-in key, and the secret is never part of a message or a Debug output.
//! Source: CreateAccessKey (shape of the ids), IAM's AccessKey type.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::server::private_file::{self, PrivateError};
use crate::server::state_dir::{self, StateDir};

/// Root's access key id and secret access key.
pub struct RootKey {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
    origin: Origin,
}

/// Where a root key came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The operator gave it; it is not stored.
    Environment,
    /// The state directory had it.
    Stored,
    /// It was made just now and stored.
    Generated,
}

/// Why there is no usable root key.
#[derive(Debug)]
pub enum RootKeyError {
    /// The environment's pair breaks a rule: the sentence names the variable, never its value.
    Environment(String),
    /// The key file cannot be read or written safely.
    File(PrivateError),
    /// The key file is not what `write` makes.
    Damaged(std::path::PathBuf),
    /// The kernel gave no randomness.
    Random(getrandom::Error),
}

impl From<PrivateError> for RootKeyError {
    fn from(error: PrivateError) -> RootKeyError {
        RootKeyError::File(error)
    }
}

impl fmt::Display for RootKeyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RootKeyError::Environment(sentence) => out.write_str(sentence),
            RootKeyError::File(error) => error.fmt(out),
            RootKeyError::Damaged(path) => write!(
                out,
                "{} is not a root key: restore it, or make a new key with ringway root-key reset",
                path.display()
            ),
            RootKeyError::Random(error) => write!(out, "no randomness for a new root key: {error}"),
        }
    }
}

impl std::error::Error for RootKeyError {}

impl fmt::Debug for RootKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand: a derived one would print the secret.
        write!(out, "RootKey({}, {:?})", self.access_key_id, self.origin)
    }
}

/// The key file, in the private part of the state directory.
const FILE_NAME: &str = "root-key.json";
/// Two texts of at most 128 characters, their names and room for fields of later versions.
const FILE_BYTES_MAX: usize = 4096;

/// The file's content. Fields of later versions are passed over.
#[derive(Serialize, Deserialize)]
struct Stored<'text> {
    access_key_id: std::borrow::Cow<'text, str>,
    secret_access_key: std::borrow::Cow<'text, str>,
}

impl RootKey {
    /// The pair that the environment gives, if it gives one.
    /// Shape: `RINGWAY_ROOT_ACCESS_KEY` 3-128 of `A-Z a-z 0-9 _ . -`; `RINGWAY_ROOT_SECRET_KEY` 8-128 printable
    /// characters, 16 at least when one of `listen` is reached from other hosts. Both or neither.
    /// Errors: Environment, naming the variable and the rule.
    pub fn from_environment(
        access_key_id: Option<String>,
        secret_access_key: Option<Zeroizing<String>>,
        listen: &[SocketAddr],
    ) -> Result<Option<RootKey>, RootKeyError> {
        let (access_key_id, secret_access_key) = match (access_key_id, secret_access_key) {
            (None, None) => return Ok(None),
            (Some(id), Some(secret)) => (id, secret),
            (Some(_), None) | (None, Some(_)) => {
                return Err(refuse(format!(
                    "{ACCESS_KEY_VARIABLE} and {SECRET_KEY_VARIABLE} come together or not at all"
                )));
            }
        };
        check_access_key_id(&access_key_id)?;
        check_secret(&secret_access_key, listen)?;
        if access_key_id == *secret_access_key {
            return Err(refuse(format!("{SECRET_KEY_VARIABLE} equals {ACCESS_KEY_VARIABLE}")));
        }
        Ok(Some(RootKey { access_key_id, secret_access_key, origin: Origin::Environment }))
    }

    /// The stored pair; at the first start, a new one that is durable before this returns.
    pub fn open(state_dir: &StateDir) -> Result<RootKey, RootKeyError> {
        match RootKey::read(state_dir.path())? {
            Some(key) => Ok(key),
            None => RootKey::reset(state_dir),
        }
    }

    /// The pair stored in the state directory `path`, whoever holds it; `None` before the first start.
    /// Errors: File when others may read it; Damaged when it is no key. A damaged file is never taken for none.
    pub fn read(path: &Path) -> Result<Option<RootKey>, RootKeyError> {
        let private = state_dir::private_path(path);
        let Some(bytes) = private_file::read(&private, FILE_NAME, FILE_BYTES_MAX)? else {
            return Ok(None);
        };
        let damaged = || RootKeyError::Damaged(private.join(FILE_NAME));
        let stored: Stored<'_> = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        let key = RootKey {
            access_key_id: stored.access_key_id.into_owned(),
            secret_access_key: Zeroizing::new(stored.secret_access_key.into_owned()),
            origin: Origin::Stored,
        };
        if check_access_key_id(&key.access_key_id).is_err()
            || check_secret(&key.secret_access_key, &[]).is_err()
        {
            return Err(damaged());
        }
        Ok(Some(key))
    }

    /// Makes a new pair and stores it in place of the old one. Holding `state_dir` means that no server uses it.
    pub fn reset(state_dir: &StateDir) -> Result<RootKey, RootKeyError> {
        let key = RootKey::generate()?;
        let stored = Stored {
            access_key_id: key.access_key_id.as_str().into(),
            secret_access_key: key.secret_access_key.as_str().into(),
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX));
        serde_json::to_writer(&mut *bytes, &stored).expect("two texts are JSON, and a vector takes them");
        bytes.push(b'\n');
        private_file::write(&state_dir.private_path(), FILE_NAME, &bytes)?;
        Ok(key)
    }

    fn generate() -> Result<RootKey, RootKeyError> {
        // Some tools check an id against AWS's pattern: AKIA and 16 of A-Z and 2-7.
        let access_key_id = format!("AKIA{}", *random_text(BASE32, 16)?);
        // AWS draws 40 of base64; without `/` and `+` a secret survives shells and URLs unquoted, at 238 bits.
        let secret_access_key = random_text(ALPHANUMERIC, 40)?;
        Ok(RootKey { access_key_id, secret_access_key, origin: Origin::Generated })
    }

    /// The access key id: no secret.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The secret access key: for signatures, and for the one place that shows it.
    pub fn secret_access_key(&self) -> &str {
        &self.secret_access_key
    }

    /// Where the pair came from.
    pub fn origin(&self) -> Origin {
        self.origin
    }
}

/// The variable with the operator's own access key id.
pub const ACCESS_KEY_VARIABLE: &str = "RINGWAY_ROOT_ACCESS_KEY";
/// The variable with the operator's own secret access key.
pub const SECRET_KEY_VARIABLE: &str = "RINGWAY_ROOT_SECRET_KEY";

const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

fn random_text(alphabet: &[u8], length: usize) -> Result<Zeroizing<String>, RootKeyError> {
    let mut text = Zeroizing::new(String::with_capacity(length));
    let mut random = Zeroizing::new([0_u8; 64]);
    while text.len() < length {
        getrandom::fill(&mut *random).map_err(RootKeyError::Random)?;
        // Six bits a letter; a number beyond the alphabet is drawn again, so that every letter is equally likely.
        let letters = random.iter().filter_map(|byte| alphabet.get(usize::from(byte & 63)));
        for letter in letters.take(length - text.len()) {
            text.push(char::from(*letter));
        }
    }
    Ok(text)
}

fn refuse(sentence: String) -> RootKeyError {
    RootKeyError::Environment(sentence)
}

fn check_access_key_id(id: &str) -> Result<(), RootKeyError> {
    // It stands between slashes in a credential scope and unescaped in a presigned URL.
    let letters = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    if (3..=128).contains(&id.len()) && letters {
        return Ok(());
    }
    Err(refuse(format!("{ACCESS_KEY_VARIABLE} is 3 to 128 letters, digits, dots, hyphens and underscores")))
}

fn check_secret(secret: &str, listen: &[SocketAddr]) -> Result<(), RootKeyError> {
    // Servers of this kind were taken over through short and well-known root secrets more often than any other way.
    let reached_from_outside = listen.iter().any(|address| !address.ip().is_loopback());
    let (least, why) = if reached_from_outside { (16, " when --listen is not loopback") } else { (8, "") };
    if !(least..=128).contains(&secret.len()) {
        return Err(refuse(format!("{SECRET_KEY_VARIABLE} is {least} to 128 characters long{why}")));
    }
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refuse(format!("{SECRET_KEY_VARIABLE} is printable ASCII without spaces")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn check(
        name: &str,
        id: Option<&str>,
        secret: Option<&str>,
        listen: &str,
        want: Result<Option<&str>, &str>,
    ) {
        let listen = [listen.parse().expect("a test address")];
        let secret = secret.map(|text| Zeroizing::new(text.to_owned()));
        let got = RootKey::from_environment(id.map(str::to_owned), secret.clone(), &listen);
        match (got, want) {
            (Ok(key), Ok(want)) => assert_eq!(key.as_ref().map(RootKey::access_key_id), want, "{name}"),
            (Err(error), Err(part)) => {
                let text = error.to_string();
                assert!(text.contains(part), "{name}: {text}");
                let secret = secret.unwrap_or_default();
                assert!(
                    secret.is_empty() || !text.contains(secret.as_str()),
                    "{name}: the secret is in {text}"
                );
            }
            (got, want) => panic!("{name}: got {got:?}, want {want:?}"),
        }
    }

    #[test]
    fn keys_of_the_environment() {
        let (local, open) = ("127.0.0.1:9000", "0.0.0.0:9000");
        check("neither", None, None, open, Ok(None));
        check("both", Some("root"), Some("12345678"), local, Ok(Some("root")));
        check("v6 loopback", Some("root"), Some("12345678"), "[::1]:9000", Ok(Some("root")));
        check("open, long enough", Some("root"), Some("1234567890abcdef"), open, Ok(Some("root")));
        check("open, short", Some("root"), Some("1234567890abcde"), open, Err("16 to 128"));
        check("short", Some("root"), Some("1234567"), local, Err("8 to 128"));
        check("long", Some("root"), Some(&"s".repeat(129)), local, Err("8 to 128"));
        check("space", Some("root"), Some("1234 5678"), local, Err("without spaces"));
        check("only the id", Some("root"), None, local, Err("come together"));
        check("only the secret", None, Some("12345678"), local, Err("come together"));
        check("id short", Some("ab"), Some("12345678"), local, Err("3 to 128"));
        check("id with slash", Some("ro/ot"), Some("12345678"), local, Err("3 to 128"));
        check("the same", Some("abcdefgh"), Some("abcdefgh"), local, Err("equals"));
    }

    #[test]
    fn the_first_start_makes_a_key_and_later_ones_find_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = StateDir::open(dir.path()).expect("state directory");
        assert!(RootKey::read(dir.path()).expect("no key yet").is_none());
        let first = RootKey::open(&state).expect("made");
        assert_eq!(first.origin(), Origin::Generated);
        assert!(first.access_key_id().starts_with("AKIA") && first.access_key_id().len() == 20);
        assert_eq!(first.secret_access_key().len(), 40);
        assert!(!format!("{first:?}").contains(first.secret_access_key()));
        let second = RootKey::open(&state).expect("found");
        assert_eq!(second.origin(), Origin::Stored);
        assert_eq!(second.access_key_id(), first.access_key_id());
        assert_eq!(second.secret_access_key(), first.secret_access_key());
        let file = state.private_path().join(FILE_NAME);
        assert_eq!(fs::metadata(&file).expect("stored").mode() & 0o7777, 0o600);
        let third = RootKey::reset(&state).expect("another");
        assert_ne!(third.secret_access_key(), first.secret_access_key());
        assert_eq!(RootKey::open(&state).expect("found").access_key_id(), third.access_key_id());
    }

    #[test]
    fn a_damaged_or_open_file_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = StateDir::open(dir.path()).expect("state directory");
        RootKey::open(&state).expect("made");
        let file = state.private_path().join(FILE_NAME);
        let whole = fs::read(&file).expect("read");
        let torn = &whole[..whole.len() / 2];
        let short = br#"{"access_key_id":"AKIA","secret_access_key":"short"}"#;
        for content in [torn, b"", b"{}", short] {
            fs::write(&file, content).expect("damage");
            assert!(matches!(RootKey::open(&state), Err(RootKeyError::Damaged(_))), "{content:?}");
        }
        fs::write(&file, &whole).expect("mend");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("chmod");
        assert!(matches!(RootKey::open(&state), Err(RootKeyError::File(PrivateError::Unsafe { .. }))));
    }

    #[test]
    fn every_letter_is_drawn() {
        let text = random_text(ALPHANUMERIC, 10_000).expect("randomness");
        assert_eq!(text.len(), 10_000);
        assert!(ALPHANUMERIC.iter().all(|letter| text.contains(char::from(*letter))));
        assert!(text.bytes().all(|letter| ALPHANUMERIC.contains(&letter)));
    }
}

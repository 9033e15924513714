//! What a server says when it is ready: a session to paste for people on stderr, one line for programs on stdout.
//! Pure text; who prints it, and when, is decided elsewhere.
//! The secret is written out only when asked for: stderr often ends in a log that more people read than own it.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::server::root_key::{Origin, RootKey, SECRET_KEY_VARIABLE};

/// What the session needs to know.
pub struct Session<'server> {
    /// The served tree.
    pub root: &'server Path,
    /// Where `ringway root-key` finds the key again.
    pub state_dir: &'server Path,
    /// The bound addresses, at least one.
    pub s3: &'server [SocketAddr],
    /// The region for the client.
    pub region: &'server str,
    /// Root's pair.
    pub root_key: &'server RootKey,
    /// Whether a stored secret is written out.
    pub stored_secret: StoredSecret,
}

/// Whether a secret that an earlier start made is written out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredSecret {
    /// A person looks at a terminal.
    Shown,
    /// The text goes to a log: it says how the secret is got instead.
    Withheld,
}

/// The banner with a session that works when pasted into a shell.
/// Shape: lines, each ending in a line feed; comments begin with `#`.
pub fn session(session: &Session<'_>) -> String {
    let mut text = String::new();
    let endpoint = session.s3.first().map(|address| endpoint(*address)).unwrap_or_default();
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "# Ringway {} serves {} at {endpoint}",
        env!("CARGO_PKG_VERSION"),
        quote(session.root)
    );
    let _ = writeln!(text, "# Paste this into a shell:");
    text.push_str(&key_exports(session));
    let _ = writeln!(text, "export AWS_ENDPOINT_URL={endpoint}");
    let _ = writeln!(text, "export AWS_DEFAULT_REGION={}", session.region);
    let _ = writeln!(text, "aws s3 mb s3://first-bucket");
    let _ = writeln!(text, "echo 'hello, ringway' > hello.txt");
    let _ = writeln!(text, "aws s3 cp hello.txt s3://first-bucket/hello.txt");
    let _ = writeln!(text, "cat {}", quote(&session.root.join("first-bucket/hello.txt")));
    text
}

fn key_exports(session: &Session<'_>) -> String {
    let key = session.root_key;
    let id = key.access_key_id();
    match key.origin() {
        // Its owner has it already: the session takes it from where the server took it.
        Origin::Environment => {
            format!(
                "export AWS_ACCESS_KEY_ID={id}\nexport AWS_SECRET_ACCESS_KEY=\"${SECRET_KEY_VARIABLE}\"\n"
            )
        }
        Origin::Generated => exports(key),
        Origin::Stored => match session.stored_secret {
            StoredSecret::Shown => exports(key),
            StoredSecret::Withheld => {
                format!("eval \"$(ringway root-key show --state-dir {})\"\n", quote(session.state_dir))
            }
        },
    }
}

/// The pair as two shell commands.
pub fn exports(key: &RootKey) -> String {
    // An id and a secret of ours need no quotes; an operator's secret may hold any printable character.
    format!(
        "export AWS_ACCESS_KEY_ID={}\nexport AWS_SECRET_ACCESS_KEY={}\n",
        key.access_key_id(),
        quote(Path::new(key.secret_access_key()))
    )
}

/// The one line of stdout: `ringway ready s3=http://ADDR:PORT admin=http://ADDR:PORT`.
/// Shape: several S3 addresses are joined by commas; no line feed.
pub fn ready_line(s3: &[SocketAddr], admin: SocketAddr) -> String {
    let s3: Vec<String> = s3.iter().map(|address| format!("http://{address}")).collect();
    format!("ringway ready s3={} admin=http://{admin}", s3.join(","))
}

/// The address as a client on this host dials it: the unspecified address is no destination.
fn endpoint(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// The text as one word of a POSIX shell.
fn quote(text: &Path) -> String {
    let text = text.to_string_lossy();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::state_dir::StateDir;
    use zeroize::Zeroizing;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("a test address")
    }

    fn operator_key() -> RootKey {
        let secret = Some(Zeroizing::new("it's-16-or-longer".to_owned()));
        RootKey::from_environment(Some("root".to_owned()), secret, &[]).expect("legal").expect("given")
    }

    fn check(key: &RootKey, stored_secret: StoredSecret, key_lines: &str) {
        let s3 = [address("0.0.0.0:9000"), address("[::1]:9002")];
        let text = session(&Session {
            root: Path::new("/srv/my tree"),
            state_dir: Path::new("/srv/my tree/.ringway"),
            s3: &s3,
            region: "us-east-1",
            root_key: key,
            stored_secret,
        });
        let version = env!("CARGO_PKG_VERSION");
        let want = format!(
            "# Ringway {version} serves '/srv/my tree' at http://127.0.0.1:9000\n\
             # Paste this into a shell:\n\
             {key_lines}\
             export AWS_ENDPOINT_URL=http://127.0.0.1:9000\n\
             export AWS_DEFAULT_REGION=us-east-1\n\
             aws s3 mb s3://first-bucket\n\
             echo 'hello, ringway' > hello.txt\n\
             aws s3 cp hello.txt s3://first-bucket/hello.txt\n\
             cat '/srv/my tree/first-bucket/hello.txt'\n"
        );
        assert_eq!(text, want);
    }

    #[test]
    fn the_operators_secret_is_never_written_out() {
        let lines =
            "export AWS_ACCESS_KEY_ID=root\nexport AWS_SECRET_ACCESS_KEY=\"$RINGWAY_ROOT_SECRET_KEY\"\n";
        check(&operator_key(), StoredSecret::Shown, lines);
        check(&operator_key(), StoredSecret::Withheld, lines);
    }

    #[test]
    fn a_new_secret_is_shown_and_a_stored_one_when_asked() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = StateDir::open(dir.path()).expect("state directory");
        let new = RootKey::open(&state).expect("made");
        let shown = format!(
            "export AWS_ACCESS_KEY_ID={}\nexport AWS_SECRET_ACCESS_KEY={}\n",
            new.access_key_id(),
            new.secret_access_key()
        );
        check(&new, StoredSecret::Withheld, &shown);
        let stored = RootKey::open(&state).expect("found");
        check(&stored, StoredSecret::Shown, &shown);
        let command = "eval \"$(ringway root-key show --state-dir '/srv/my tree/.ringway')\"\n";
        check(&stored, StoredSecret::Withheld, command);
    }

    #[test]
    fn quotes_and_addresses() {
        assert!(exports(&operator_key()).ends_with("KEY='it'\\''s-16-or-longer'\n"));
        assert_eq!(endpoint(address("[::]:9000")), "http://[::1]:9000");
        assert_eq!(endpoint(address("10.0.0.7:80")), "http://10.0.0.7:80");
        assert_eq!(quote(Path::new("")), "''");
        let one = ready_line(&[address("127.0.0.1:9000")], address("127.0.0.1:9001"));
        assert_eq!(one, "ringway ready s3=http://127.0.0.1:9000 admin=http://127.0.0.1:9001");
        let two = ready_line(&[address("127.0.0.1:1"), address("[::1]:2")], address("127.0.0.1:3"));
        assert_eq!(two, "ringway ready s3=http://127.0.0.1:1,http://[::1]:2 admin=http://127.0.0.1:3");
    }
}

//! What one run of the load generator does: against whom, what, how much, signed how.
//! Plain values with their relations checked; it opens no connection and reads no clock.
//! Source: `ringway bench` for the flags; SigV4's payload options for `Signing`.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::s3::checksum::Algorithm;
use crate::s3::names::BucketName;
use crate::server::setting::{Cores, EngineChoice, SettingError};

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchPlan {
    /// What each request does.
    pub work: Work,
    /// The server.
    pub target: Target,
    /// The bucket; made when it is missing, unless nothing is prepared.
    pub bucket: String,
    /// Keys are `<prefix><number>`, numbered from 0.
    pub prefix: String,
    /// How many different keys are used, over and over.
    pub keys_count: u64,
    /// The size of each object that is put, by the run or to prepare it.
    pub size_bytes: u64,
    /// What is put in place before the run, outside its figures.
    pub preparation: Preparation,
    /// Connections, each with one request at a time.
    pub connections_count: u32,
    /// When the run is over.
    pub extent: Extent,
    /// How requests are signed.
    pub signing: Signing,
    /// The checksum that a PUT carries.
    pub checksum: Checksum,
    /// The key pair; none when nothing is signed.
    pub credentials: Option<Credentials>,
    /// The region of the credential scope.
    pub region: String,
    /// Which CPUs the client uses.
    pub cores: Cores,
    /// Which engine the client uses.
    pub engine: EngineChoice,
    /// A process on this host whose CPU time is told beside the client's.
    pub server_pid: Option<u32>,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// PutObject.
    Put,
    /// GetObject, read to its end.
    Get,
    /// HeadObject.
    Stat,
}

impl Work {
    /// The word for it on the command line and in reports.
    pub fn word(self) -> &'static str {
        match self {
            Work::Put => "put",
            Work::Get => "get",
            Work::Stat => "stat",
        }
    }
}

/// What is put in place before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preparation {
    /// The bucket, and for `get` and `stat` every key.
    Make,
    /// Nothing: all of it is there.
    Skip,
}

/// When a run is over. No request is cut: those in flight finish and count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// After that time.
    Time {
        /// From the first request.
        time_ms: u64,
    },
    /// After that many requests over all connections.
    Count(u64),
}

/// How requests are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// The Authorization header, and the SHA-256 of the payload in it.
    Header,
    /// The Authorization header, with UNSIGNED-PAYLOAD.
    Unsigned,
    /// aws-chunked, each chunk signed.
    Chunked,
    /// aws-chunked, unsigned, with the checksum in the trailer: what current SDKs send.
    Trailer,
    /// Nothing: an anonymous request.
    None,
}

impl Signing {
    /// The word for it on the command line and in reports.
    pub fn word(self) -> &'static str {
        match self {
            Signing::Header => "header",
            Signing::Unsigned => "unsigned",
            Signing::Chunked => "chunked",
            Signing::Trailer => "trailer",
            Signing::None => "none",
        }
    }
}

impl FromStr for Signing {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Signing, SettingError> {
        match text {
            "header" => Ok(Signing::Header),
            "unsigned" => Ok(Signing::Unsigned),
            "chunked" => Ok(Signing::Chunked),
            "trailer" => Ok(Signing::Trailer),
            "none" => Ok(Signing::None),
            _ => Err(SettingError::new("expected header, unsigned, chunked, trailer or none")),
        }
    }
}

/// The checksum that a PUT carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// None.
    None,
    /// One of S3's.
    Of(Algorithm),
}

impl Checksum {
    /// The word for it on the command line and in reports.
    pub fn word(self) -> &'static str {
        match self {
            Checksum::None => "none",
            Checksum::Of(Algorithm::Crc32) => "crc32",
            Checksum::Of(Algorithm::Crc32c) => "crc32c",
            Checksum::Of(Algorithm::Crc64nvme) => "crc64nvme",
            Checksum::Of(Algorithm::Sha1) => "sha1",
            Checksum::Of(Algorithm::Sha256) => "sha256",
        }
    }
}

impl FromStr for Checksum {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Checksum, SettingError> {
        let all = Algorithm::ALL.into_iter().map(Checksum::Of).chain([Checksum::None]);
        let found = all.into_iter().find(|checksum| checksum.word() == text);
        found.ok_or_else(|| SettingError::new("expected none, crc32, crc32c, crc64nvme, sha1 or sha256"))
    }
}

/// The server: `http://HOST:PORT`, without path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
}

impl Target {
    /// The host as a name or an address, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the `Host` header says.
    pub fn authority(&self) -> String {
        let Target { host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl FromStr for Target {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Target, SettingError> {
        let wrong = || SettingError::new("expected http://HOST:PORT");
        let authority = text.strip_prefix("http://").ok_or_else(wrong)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
            Some(_) | None => (authority, 80),
        };
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
            Some(_) => return Err(wrong()),
            None => host,
        };
        let name_ok = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
        if host.is_empty()
            || !host.bytes().all(name_ok)
            || (host.contains(':') && !authority.starts_with('['))
        {
            return Err(wrong());
        }
        Ok(Target { host: host.to_owned(), port })
    }
}

/// The key pair that requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// No secret.
    pub access_key_id: String,
    /// Wiped when dropped.
    pub secret_access_key: Zeroizing<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand: a derived one would print the secret.
        write!(out, "Credentials({})", self.access_key_id)
    }
}

/// What one PutObject may carry. Source: Amazon S3 multipart upload limits.
const OBJECT_BYTES_MAX: u64 = 5 << 30;

/// A client of one host has fewer ports than that towards one server.
const CONNECTIONS_MAX: u32 = 20_000;

impl BenchPlan {
    /// Checks what no single value can know.
    /// Errors: a sentence that names the flags.
    pub fn check(&self) -> Result<(), SettingError> {
        let refuse = |sentence: &str| Err(SettingError::new(sentence));
        if !(1..=CONNECTIONS_MAX).contains(&self.connections_count) {
            return refuse("--connections is 1 to 20000");
        }
        if BucketName::parse(&self.bucket).is_err() {
            return refuse("--bucket is no legal bucket name");
        }
        if self.size_bytes > OBJECT_BYTES_MAX {
            return refuse("--size is at most 5GiB: a larger object takes several parts");
        }
        if self.keys_count == 0
            || self.extent == Extent::Count(0)
            || self.extent == (Extent::Time { time_ms: 0 })
        {
            return refuse("--keys, --count and --seconds are at least 1");
        }
        match self.signing {
            Signing::None if self.credentials.is_some() => refuse("--signing none takes no key pair"),
            Signing::Header | Signing::Unsigned | Signing::Chunked | Signing::Trailer
                if self.credentials.is_none() =>
            {
                refuse("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are missing: --signing none needs none")
            }
            Signing::Trailer if self.checksum == Checksum::None => {
                refuse("--signing trailer needs a --checksum")
            }
            Signing::Header | Signing::Unsigned | Signing::Chunked | Signing::Trailer | Signing::None => {
                self.check_work()
            }
        }
    }

    fn check_work(&self) -> Result<(), SettingError> {
        let framed = matches!(self.signing, Signing::Chunked | Signing::Trailer);
        match self.work {
            Work::Get | Work::Stat if framed || self.checksum != Checksum::None => {
                Err(SettingError::new("only a put has a body to frame or to checksum"))
            }
            Work::Put | Work::Get | Work::Stat => Ok(()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn check_target(text: &str, want: Option<(&str, u16)>) {
        let got = text.parse::<Target>().ok();
        assert_eq!(got.as_ref().map(|target| (target.host(), target.port())), want, "{text}");
    }

    #[test]
    fn targets() {
        check_target("http://127.0.0.1:9000", Some(("127.0.0.1", 9000)));
        check_target("http://s3.example.com/", Some(("s3.example.com", 80)));
        check_target("http://[::1]:9000", Some(("::1", 9000)));
        check_target("http://[::1]", Some(("::1", 80)));
        for wrong in [
            "127.0.0.1:9000",
            "https://a:1",
            "http://",
            "http://:1",
            "http://a:b",
            "http://a/b",
            "http://::1",
            "http://[a]:1",
        ] {
            check_target(wrong, None);
        }
    }

    /// A plan of 100 signed puts of 4 KiB, changed.
    pub fn plan(change: impl FnOnce(&mut BenchPlan)) -> BenchPlan {
        let secret_access_key = Zeroizing::new("secret".to_owned());
        let mut plan = BenchPlan {
            work: Work::Put,
            target: "http://127.0.0.1:9000".parse().expect("a target"),
            bucket: "bench".to_owned(),
            prefix: "bench/".to_owned(),
            keys_count: 1000,
            size_bytes: 4096,
            preparation: Preparation::Make,
            connections_count: 16,
            extent: Extent::Count(100),
            signing: Signing::Header,
            checksum: Checksum::None,
            credentials: Some(Credentials { access_key_id: "id".to_owned(), secret_access_key }),
            region: "us-east-1".to_owned(),
            cores: Cores::Count(1),
            engine: EngineChoice::Auto,
            server_pid: None,
        };
        change(&mut plan);
        plan
    }

    fn check(name: &str, change: impl FnOnce(&mut BenchPlan), want: Result<(), &str>) {
        let plan = plan(change);
        assert!(!format!("{plan:?}").contains("secret\""), "{name}: the secret is in the Debug text");
        match (plan.check(), want) {
            (Ok(()), Ok(())) => (),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{name}: {error}"),
            (got, want) => panic!("{name}: got {got:?}, want {want:?}"),
        }
    }

    #[test]
    fn relations() {
        check("plain", |_| (), Ok(()));
        check("no object", |plan| plan.size_bytes = OBJECT_BYTES_MAX + 1, Err("5GiB"));
        check("no bucket", |plan| plan.bucket = "No".to_owned(), Err("--bucket"));
        check("no connection", |plan| plan.connections_count = 0, Err("--connections"));
        check("no key", |plan| plan.keys_count = 0, Err("at least 1"));
        check("no time", |plan| plan.extent = Extent::Time { time_ms: 0 }, Err("at least 1"));
        check("no pair", |plan| plan.credentials = None, Err("AWS_ACCESS_KEY_ID"));
        check("anonymous with a pair", |plan| plan.signing = Signing::None, Err("takes no key pair"));
        let anonymous = |plan: &mut BenchPlan| (plan.signing, plan.credentials) = (Signing::None, None);
        check("anonymous", anonymous, Ok(()));
        check("trailer of nothing", |plan| plan.signing = Signing::Trailer, Err("needs a --checksum"));
        let trailer = |plan: &mut BenchPlan| {
            (plan.signing, plan.checksum) = (Signing::Trailer, Checksum::Of(Algorithm::Crc64nvme))
        };
        check("trailer", trailer, Ok(()));
        let get = |plan: &mut BenchPlan| (plan.work, plan.signing) = (Work::Get, Signing::Chunked);
        check("a get in chunks", get, Err("only a put"));
        let stat =
            |plan: &mut BenchPlan| (plan.work, plan.checksum) = (Work::Stat, Checksum::Of(Algorithm::Sha1));
        check("a stat with a checksum", stat, Err("only a put"));
    }
}

//! The types that a setting may have: closed choices, modes, names, sizes and times.
//! Each has one text form, parsed here and nowhere else, so that a flag, an environment variable and a key of the
//! configuration file can never disagree about what a text means.
//! It holds no defaults and knows no relation between settings; `config` does.

use std::fmt;
use std::str::FromStr;

/// A setting that cannot be what the operator wrote: one sentence, without a full stop, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError(String);

impl SettingError {
    /// An error that says `sentence`.
    pub fn new(sentence: impl Into<String>) -> SettingError {
        SettingError(sentence.into())
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for SettingError {}

/// Which CPUs get a core.
/// Shape: `auto`, a count, or a list of CPU numbers and ranges (`0,2,4-7`); one CPU as a list is `3-3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cores {
    /// Every CPU that the process may run on.
    Auto,
    /// That many of the CPUs the process may run on.
    Count(usize),
    /// These CPUs, in this order, each once.
    List(Vec<usize>),
}

impl Cores {
    /// How many that is on this machine.
    pub fn count(&self) -> usize {
        match self {
            Cores::Auto => uring::affinity::allowed().map_or(1, |cpus| cpus.len()),
            Cores::Count(count) => *count,
            Cores::List(list) => list.len(),
        }
    }
}

/// CPU numbers the kernel can name at all (CONFIG_NR_CPUS ends at 8192 on every architecture we build for).
/// The bound keeps `0-4000000000` from becoming a list in memory.
const CPUS_MAX: usize = 8192;

impl FromStr for Cores {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Cores, SettingError> {
        if text == "auto" {
            return Ok(Cores::Auto);
        }
        if text.contains([',', '-']) {
            return cpu_list(text).map(Cores::List);
        }
        match text.parse::<usize>() {
            Ok(count) if (1..=CPUS_MAX).contains(&count) => Ok(Cores::Count(count)),
            Ok(_) => Err(SettingError::new(format!("a core count is 1 to {CPUS_MAX}"))),
            Err(_) => Err(SettingError::new("expected auto, a count, or CPUs such as 0,2,4-7")),
        }
    }
}

fn cpu_list(text: &str) -> Result<Vec<usize>, SettingError> {
    let mut cpus = Vec::new();
    for piece in text.split(',') {
        let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
        let (first, last) = (cpu_number(first)?, cpu_number(last)?);
        if first > last {
            return Err(SettingError::new(format!("the CPU range {piece} runs backwards")));
        }
        for cpu in first..=last {
            if cpus.contains(&cpu) {
                return Err(SettingError::new(format!("CPU {cpu} is listed twice")));
            }
            cpus.push(cpu);
        }
    }
    Ok(cpus)
}

fn cpu_number(text: &str) -> Result<usize, SettingError> {
    match text.parse::<usize>() {
        Ok(cpu) if cpu < CPUS_MAX => Ok(cpu),
        Ok(_) | Err(_) => Err(SettingError::new(format!("`{text}` is no CPU number below {CPUS_MAX}"))),
    }
}

/// Which engine runs the operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineChoice {
    /// The ring where the kernel allows one, else threads, said in one log line.
    Auto,
    /// The ring, or no server.
    IoUring,
    /// Plain system calls.
    Threads,
}

impl FromStr for EngineChoice {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<EngineChoice, SettingError> {
        match text {
            "auto" => Ok(EngineChoice::Auto),
            "io_uring" => Ok(EngineChoice::IoUring),
            "threads" => Ok(EngineChoice::Threads),
            _ => Err(SettingError::new("expected auto, io_uring or threads")),
        }
    }
}

/// What a 200 to a write promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The object survives a crash of the server, not a power cut.
    None,
    /// Its bytes are on the device; after a power cut the name may be missing.
    Data,
    /// Bytes and name survive power loss.
    Full,
}

impl FromStr for Durability {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Durability, SettingError> {
        match text {
            "none" => Ok(Durability::None),
            "data" => Ok(Durability::Data),
            "full" => Ok(Durability::Full),
            _ => Err(SettingError::new("expected none, data or full")),
        }
    }
}

/// What the ETag of an object that was put in one piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtagKind {
    /// The MD5 of its bytes, as most clients expect.
    Md5,
    /// A random value in a form that nobody takes for an MD5: a fifth of the CPU time of a large upload.
    Opaque,
}

impl FromStr for EtagKind {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<EtagKind, SettingError> {
        match text {
            "md5" => Ok(EtagKind::Md5),
            "opaque" => Ok(EtagKind::Opaque),
            _ => Err(SettingError::new("expected md5 or opaque")),
        }
    }
}

/// Which directories of ROOT are buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buckets {
    /// Every top-level directory with a legal bucket name.
    All,
    /// Only those that CreateBucket made. Refused when parsed: there is no register of buckets yet.
    Registered,
}

impl FromStr for Buckets {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Buckets, SettingError> {
        match text {
            "all" => Ok(Buckets::All),
            "registered" => {
                Err(SettingError::new("registered buckets are not built yet; all is the only choice"))
            }
            _ => Err(SettingError::new("expected all or registered")),
        }
    }
}

/// Who has the last word on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Policies decide; the file gets the mapped owner.
    Policy,
    /// Policies and the kernel's permission check. Refused when parsed: nobody is mapped to a POSIX user yet.
    Posix,
}

impl FromStr for Access {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Access, SettingError> {
        match text {
            "policy" => Ok(Access::Policy),
            "posix" => Err(SettingError::new("posix access is not built yet; policy is the only choice")),
            _ => Err(SettingError::new("expected policy or posix")),
        }
    }
}

/// The permission bits of a new file.
/// Shape: octal text, three or four digits; no set-id or sticky bits; the owner may at least read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(u32);

impl FileMode {
    /// The default: the owner reads and writes, the group reads.
    pub const DEFAULT: FileMode = FileMode(0o640);

    /// The bits, as `open(2)` takes them.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for FileMode {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<FileMode, SettingError> {
        let bits = octal(text)?;
        if bits > 0o777 {
            return Err(SettingError::new("a file mode has no set-id or sticky bit: at most 0777"));
        }
        // A server that is not root reads its objects as their owner.
        if bits & 0o400 == 0 {
            return Err(SettingError::new("the owner must be able to read the file: at least 0400"));
        }
        Ok(FileMode(bits))
    }
}

/// The permission bits of a new directory.
/// Shape: octal text, three or four digits; set-group-id and sticky bits allowed; the owner may do everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirMode(u32);

impl DirMode {
    /// The default: the owner does everything, the group reads and passes.
    pub const DEFAULT: DirMode = DirMode(0o750);

    /// The bits, as `mkdir(2)` takes them.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for DirMode {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<DirMode, SettingError> {
        let bits = octal(text)?;
        if bits > 0o3777 {
            return Err(SettingError::new("a directory mode has no set-user-id bit: at most 3777"));
        }
        // The next PUT below this directory is made by the same owner.
        if bits & 0o700 != 0o700 {
            return Err(SettingError::new("the owner must have read, write and search: at least 0700"));
        }
        Ok(DirMode(bits))
    }
}

fn octal(text: &str) -> Result<u32, SettingError> {
    let digits = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    match u32::from_str_radix(text, 8) {
        Ok(bits) if digits => Ok(bits),
        Ok(_) | Err(_) => Err(SettingError::new("expected three or four octal digits such as 0640")),
    }
}

/// The region that the server says it is in.
/// Shape: 1-63 bytes of lower-case letters, digits and `-`: it stands in a credential scope between slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region(String);

impl Region {
    /// The region as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Region, SettingError> {
        let letters =
            text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if (1..=63).contains(&text.len()) && letters {
            Ok(Region(text.to_owned()))
        } else {
            Err(SettingError::new("a region is 1 to 63 lower-case letters, digits and hyphens"))
        }
    }
}

/// A domain under which buckets are host names (`BUCKET.DOMAIN`).
/// Shape: a DNS name, kept in lower case, without port and trailing dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain(String);

impl Domain {
    /// The domain as text, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Domain {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Domain, SettingError> {
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // An address cannot have a bucket in front of it, and `127.0.0.1` would pass as four labels.
        let address = text.parse::<std::net::Ipv4Addr>().is_ok();
        if text.len() <= 253 && !address && text.split('.').all(label_ok) {
            Ok(Domain(text.to_ascii_lowercase()))
        } else {
            Err(SettingError::new("a domain is a DNS name such as s3.example.com, without port"))
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line a person reads.
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<LogFormat, SettingError> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(SettingError::new("expected text or json")),
        }
    }
}

/// Something that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// It is done.
    On,
    /// It is not.
    Off,
}

impl FromStr for Switch {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Switch, SettingError> {
        match text {
            "on" | "true" => Ok(Switch::On),
            "off" | "false" => Ok(Switch::Off),
            _ => Err(SettingError::new("expected on or off")),
        }
    }
}

/// Reads a size as people write it: `64MiB`, `1GB`, `4096`.
/// Units: bytes.
pub fn parse_size_bytes(text: &str) -> Result<u64, SettingError> {
    match text.parse::<bytesize::ByteSize>() {
        Ok(size) => Ok(size.as_u64()),
        Err(_) => Err(SettingError::new("expected a size such as 64MiB")),
    }
}

/// Reads a time as people write it: `30s`, `1m 30s`, `500ms`.
/// Units: milliseconds; what is finer than one is refused, since it would silently become none.
pub fn parse_time_ms(text: &str) -> Result<u64, SettingError> {
    let Ok(time) = humantime::parse_duration(text) else {
        return Err(SettingError::new("expected a time such as 30s or 1m"));
    };
    if time.subsec_nanos() % 1_000_000 != 0 {
        return Err(SettingError::new("a time is whole milliseconds"));
    }
    u64::try_from(time.as_millis()).map_err(|_| SettingError::new("that time is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses `text` and compares; `Err` names a part of the sentence that the operator must see.
    fn check<T: FromStr<Err = SettingError> + PartialEq + fmt::Debug>(text: &str, want: Result<T, &str>) {
        match (text.parse::<T>(), want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want, "{text:?}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text:?}: {error}"),
            (got, want) => panic!("{text:?}: got {got:?}, want {want:?}"),
        }
    }

    #[test]
    fn cores() {
        check("auto", Ok(Cores::Auto));
        check("4", Ok(Cores::Count(4)));
        check("0,2,4-7", Ok(Cores::List(vec![0, 2, 4, 5, 6, 7])));
        check("3-3", Ok(Cores::List(vec![3])));
        check::<Cores>("0", Err("1 to 8192"));
        check::<Cores>("many", Err("expected auto"));
        check::<Cores>("1,1", Err("CPU 1 is listed twice"));
        check::<Cores>("0-3,2", Err("CPU 2 is listed twice"));
        check::<Cores>("5-2", Err("runs backwards"));
        check::<Cores>("0,", Err("`` is no CPU number"));
        check::<Cores>("-1", Err("no CPU number"));
        check::<Cores>("0-4000000000", Err("`4000000000` is no CPU number"));
    }

    #[test]
    fn choices() {
        check("io_uring", Ok(EngineChoice::IoUring));
        check::<EngineChoice>("epoll", Err("expected auto, io_uring or threads"));
        check("full", Ok(Durability::Full));
        check::<Durability>("FULL", Err("expected none, data or full"));
        check("all", Ok(Buckets::All));
        check::<Buckets>("registered", Err("not built yet"));
        check("policy", Ok(Access::Policy));
        check::<Access>("posix", Err("not built yet"));
        check("json", Ok(LogFormat::Json));
        check("true", Ok(Switch::On));
        check("off", Ok(Switch::Off));
        check::<Switch>("maybe", Err("expected on or off"));
    }

    #[test]
    fn modes() {
        check("0640", Ok(FileMode(0o640)));
        check("640", Ok(FileMode(0o640)));
        check("0400", Ok(FileMode(0o400)));
        check::<FileMode>("4755", Err("set-id"));
        check::<FileMode>("0200", Err("able to read"));
        check::<FileMode>("0o640", Err("octal digits"));
        check::<FileMode>("+640", Err("octal digits"));
        check::<FileMode>("0689", Err("octal digits"));
        check::<FileMode>("", Err("octal digits"));
        check("2750", Ok(DirMode(0o2750)));
        check("3777", Ok(DirMode(0o3777)));
        check::<DirMode>("4750", Err("set-user-id"));
        check::<DirMode>("0650", Err("read, write and search"));
    }

    #[test]
    fn names() {
        check("us-east-1", Ok(Region("us-east-1".to_owned())));
        check::<Region>("", Err("1 to 63"));
        check::<Region>("eu/west", Err("lower-case letters"));
        check("S3.Example.com", Ok(Domain("s3.example.com".to_owned())));
        check::<Domain>("s3.example.com:9000", Err("without port"));
        check::<Domain>("127.0.0.1", Err("DNS name"));
        check::<Domain>("a..b", Err("DNS name"));
        check::<Domain>("-a.b", Err("DNS name"));
    }

    #[test]
    fn sizes_and_times() {
        assert_eq!(parse_size_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size_bytes("4096"), Ok(4096));
        assert!(parse_size_bytes("-1").is_err());
        assert!(parse_size_bytes("big").is_err());
        assert_eq!(parse_time_ms("1m 30s"), Ok(90_000));
        assert_eq!(parse_time_ms("500ms"), Ok(500));
        assert!(parse_time_ms("30").is_err());
        assert!(parse_time_ms("1500us").is_err());
    }
}

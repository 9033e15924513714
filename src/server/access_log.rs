//! The access log: one line a request, text or JSON, collected by a core and written by the log writer.
//! A core formats into a buffer of its own and hands over batches; nothing here waits and nothing is allocated for a
//! line. No secret comes in: no header but the user agent, no query.
//! Source: RFC 8259 section 7, for the escapes, which both formats share; RFC 3339 for times.

use std::io::Write;
use std::net::SocketAddr;

use crate::http::date::Civil;
use crate::server::log_writer::{BATCH_BYTES, LogSink};
use crate::server::setting::LogFormat;

/// One finished request.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'request> {
    /// When the head was complete. Units: milliseconds since 1970.
    pub time_unix_ms: u64,
    /// The id that the response carried.
    pub request_id: &'request str,
    /// Whose connection.
    pub remote: SocketAddr,
    /// Who was authenticated.
    pub caller: Option<&'request str>,
    /// The operation's name, when the head named one.
    pub operation: Option<&'request str>,
    /// The bucket, when there is one.
    pub bucket: Option<&'request str>,
    /// The key, when there is one.
    pub key: Option<&'request str>,
    /// The status sent; 0 when the client was gone.
    pub status: u16,
    /// The S3 error code answered.
    pub error_code: Option<&'request str>,
    /// Body bytes taken.
    pub received_bytes: u64,
    /// Body bytes given.
    pub sent_bytes: u64,
    /// From the head to the last byte of the response.
    pub latency_us: u64,
    /// The User-Agent as sent; its first 256 bytes are logged.
    pub user_agent: Option<&'request [u8]>,
}

/// Agents of SDKs with all their components are about 200 bytes; a head may hold one of 16 KiB.
const USER_AGENT_BYTES_MAX: usize = 256;

/// One core's access log.
pub struct AccessLog {
    sink: LogSink,
    format: LogFormat,
    batch: Vec<u8>,
}

impl AccessLog {
    /// A log of one core that hands its lines to `sink`.
    pub fn new(sink: LogSink, format: LogFormat) -> AccessLog {
        AccessLog { sink, format, batch: Vec::new() }
    }

    /// Adds a line; a batch that is full is handed over.
    pub fn write(&mut self, entry: &Entry<'_>) {
        if self.batch.capacity() == 0 {
            self.batch = self.sink.buffer();
            self.batch.reserve(BATCH_BYTES);
        }
        match self.format {
            LogFormat::Text => write_text(&mut self.batch, entry),
            LogFormat::Json => write_json(&mut self.batch, entry),
        }
        if self.batch.len() >= BATCH_BYTES {
            self.flush();
        }
    }

    /// Hands over what there is. A core calls it before it waits, so that a quiet server's lines do not lie around.
    pub fn flush(&mut self) {
        if !self.batch.is_empty() {
            self.sink.send(std::mem::take(&mut self.batch));
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

// Writing into a vector cannot fail, here and below.
fn write_text(line: &mut Vec<u8>, entry: &Entry<'_>) {
    line.extend_from_slice(b"access time=");
    write_time(line, entry.time_unix_ms);
    let _ = write!(line, " request_id={} remote={}", entry.request_id, entry.remote);
    for (name, value) in texts(entry) {
        if let Some(value) = value {
            let _ = write!(line, " {name}=");
            write_quoted(line, value);
        }
    }
    let _ = write!(line, " status={}", entry.status);
    for (name, value) in counts(entry) {
        let _ = write!(line, " {name}={value}");
    }
    line.push(b'\n');
}

fn write_json(line: &mut Vec<u8>, entry: &Entry<'_>) {
    line.extend_from_slice(b"{\"log\":\"access\",\"time\":\"");
    write_time(line, entry.time_unix_ms);
    line.extend_from_slice(b"\",\"request_id\":");
    write_quoted(line, entry.request_id.as_bytes());
    let _ = write!(line, ",\"remote\":\"{}\"", entry.remote);
    for (name, value) in texts(entry) {
        if let Some(value) = value {
            let _ = write!(line, ",\"{name}\":");
            write_quoted(line, value);
        }
    }
    let _ = write!(line, ",\"status\":{}", entry.status);
    for (name, value) in counts(entry) {
        let _ = write!(line, ",\"{name}\":{value}");
    }
    line.extend_from_slice(b"}\n");
}

/// `2024-11-24T19:00:00.007Z`: it sorts as text, and the lines of `tracing` beside it look the same.
fn write_time(line: &mut Vec<u8>, unix_ms: u64) {
    let civil = Civil::of_unix(i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX));
    let ((year, month, day), (hour, minute, second)) = (civil.date(), civil.time());
    let _ = write!(
        line,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        unix_ms % 1000
    );
}

fn texts<'request>(entry: &Entry<'request>) -> [(&'static str, Option<&'request [u8]>); 6] {
    let agent = entry.user_agent.map(|agent| agent.get(..USER_AGENT_BYTES_MAX).unwrap_or(agent));
    [
        ("caller", entry.caller.map(str::as_bytes)),
        ("operation", entry.operation.map(str::as_bytes)),
        ("bucket", entry.bucket.map(str::as_bytes)),
        ("key", entry.key.map(str::as_bytes)),
        ("error", entry.error_code.map(str::as_bytes)),
        ("agent", agent),
    ]
}

fn counts(entry: &Entry<'_>) -> [(&'static str, u64); 3] {
    [
        ("received_bytes", entry.received_bytes),
        ("sent_bytes", entry.sent_bytes),
        ("latency_us", entry.latency_us),
    ]
}

/// Writes `text` in quotes. Control characters are escaped, C1 too: a key must not steer the terminal of whoever
/// reads the log, nor end the line. Bytes that are not UTF-8 become U+FFFD.
fn write_quoted(line: &mut Vec<u8>, text: &[u8]) {
    line.push(b'"');
    for chunk in text.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' | '\\' => {
                    let _ = write!(line, "\\{letter}");
                }
                letter if letter.is_control() => {
                    let _ = write!(line, "\\u{:04x}", u32::from(letter));
                }
                letter => line.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            line.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::log_writer;

    fn entry() -> Entry<'static> {
        Entry {
            time_unix_ms: 1_732_474_800_007,
            request_id: "0A1B",
            remote: "127.0.0.1:5000".parse().expect("a test address"),
            caller: Some("root"),
            operation: Some("GetObject"),
            bucket: Some("photos"),
            key: Some("a \"b\"\n\u{1b}[31m\u{9b}\\é"),
            status: 404,
            error_code: Some("NoSuchKey"),
            received_bytes: 0,
            sent_bytes: 300,
            latency_us: 41,
            user_agent: Some(b"aws-cli/2\xff"),
        }
    }

    fn check(format: LogFormat, entry: &Entry<'_>, want: &str) {
        let mut line = Vec::new();
        match format {
            LogFormat::Text => write_text(&mut line, entry),
            LogFormat::Json => write_json(&mut line, entry),
        }
        assert_eq!(String::from_utf8(line).expect("UTF-8"), format!("{want}\n"));
    }

    #[test]
    fn text() {
        let want = "access time=2024-11-24T19:00:00.007Z request_id=0A1B remote=127.0.0.1:5000 caller=\"root\" \
                    operation=\"GetObject\" bucket=\"photos\" \
                    key=\"a \\\"b\\\"\\u000a\\u001b[31m\\u009b\\\\é\" error=\"NoSuchKey\" agent=\"aws-cli/2\u{fffd}\" \
                    status=404 received_bytes=0 sent_bytes=300 latency_us=41";
        check(LogFormat::Text, &entry(), want);
        let agent = [b'a'; 300];
        let bare = Entry {
            caller: None,
            operation: None,
            bucket: None,
            key: None,
            error_code: None,
            user_agent: Some(&agent),
            ..entry()
        };
        let want = format!(
            "access time=2024-11-24T19:00:00.007Z request_id=0A1B remote=127.0.0.1:5000 agent=\"{}\" \
             status=404 received_bytes=0 sent_bytes=300 latency_us=41",
            "a".repeat(256)
        );
        check(LogFormat::Text, &bare, &want);
    }

    #[test]
    fn json() {
        let mut line = Vec::new();
        write_json(&mut line, &entry());
        let got: serde_json::Value = serde_json::from_slice(&line).expect("one object");
        let want = serde_json::json!({
            "log": "access", "time": "2024-11-24T19:00:00.007Z", "request_id": "0A1B", "remote": "127.0.0.1:5000",
            "caller": "root", "operation": "GetObject", "bucket": "photos", "key": entry().key, "error": "NoSuchKey",
            "agent": "aws-cli/2\u{fffd}", "status": 404, "received_bytes": 0, "sent_bytes": 300, "latency_us": 41,
        });
        assert_eq!(got, want);
    }

    #[test]
    fn every_line_arrives_once_and_whole() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("log");
        let (sink, writer) =
            log_writer::start(Box::new(std::fs::File::create(&path).expect("create"))).expect("thread");
        let cores: Vec<_> = (0..2)
            .map(|core| {
                let mut log = AccessLog::new(sink.clone(), LogFormat::Json);
                std::thread::spawn(move || {
                    for index in 0..500 {
                        log.write(&Entry { status: core, latency_us: index, ..entry() });
                    }
                })
            })
            .collect();
        for core in cores {
            core.join().expect("a core");
        }
        writer.finish();
        assert_eq!(sink.lines_dropped(), 0);
        let mut next = [0_u64; 2];
        for line in std::fs::read_to_string(&path).expect("read").lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("a whole line");
            let core = usize::try_from(line["status"].as_u64().expect("a number")).expect("small");
            assert_eq!(line["latency_us"].as_u64(), Some(next[core]));
            next[core] += 1;
        }
        assert_eq!(next, [500, 500]);
    }
}

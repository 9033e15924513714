//! Structured logs: which events, in which format, through the log writer.
//! It owns the set-up of `tracing`; events are written where they happen. Requests have their own line, in
//! `access_log`, on the same output.
//! Source: tracing-subscriber, EnvFilter's directives.

use std::io::{self, Write};

use tracing::Subscriber;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::server::log_writer::LogSink;
use crate::server::setting::{LogFormat, SettingError};

/// Sends every event of this process that passes `filter` to `sink`.
/// Shape: `filter` is a level (`info`) or directives (`info,ringway::ops=debug`).
/// Errors: the filter cannot be read, or logs were set up before.
pub fn start(filter: &str, format: LogFormat, sink: LogSink) -> Result<(), SettingError> {
    let subscriber = subscriber(filter, format, sink)?;
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|_| SettingError::new("logs were set up before in this process"))
}

/// Checks a filter without setting anything up.
pub fn check_filter(filter: &str) -> Result<(), SettingError> {
    parse_filter(filter).map(|_| ())
}

fn parse_filter(filter: &str) -> Result<EnvFilter, SettingError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|error| SettingError::new(format!("expected a level such as info, or directives: {error}")))
}

fn subscriber(
    filter: &str,
    format: LogFormat,
    sink: LogSink,
) -> Result<Box<dyn Subscriber + Send + Sync>, SettingError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parse_filter(filter)?)
        // No colours: the writer cannot know whether the other end of stderr is still a terminal.
        .with_ansi(false)
        .with_writer(EventLines { sink });
    Ok(match format {
        LogFormat::Text => Box::new(builder.finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
    })
}

/// Makes the place that one event's line is written to.
struct EventLines {
    sink: LogSink,
}

impl<'lines> MakeWriter<'lines> for EventLines {
    type Writer = EventLine<'lines>;

    fn make_writer(&'lines self) -> EventLine<'lines> {
        EventLine { sink: &self.sink, line: self.sink.buffer() }
    }
}

/// One event's line, handed over when it is dropped: `tracing` may write it in pieces.
struct EventLine<'lines> {
    sink: &'lines LogSink,
    line: Vec<u8>,
}

impl Write for EventLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for EventLine<'_> {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.sink.send(std::mem::take(&mut self.line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::log_writer;

    fn logged(filter: &str, format: LogFormat) -> String {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("log");
        let (sink, writer) =
            log_writer::start(Box::new(std::fs::File::create(&path).expect("create"))).expect("thread");
        tracing::subscriber::with_default(subscriber(filter, format, sink).expect("a filter"), || {
            tracing::info!(bucket = "photos", "line\nfeed");
            tracing::debug!("detail");
        });
        writer.finish();
        std::fs::read_to_string(&path).expect("read")
    }

    #[test]
    fn text() {
        let text = logged("info", LogFormat::Text);
        assert!(text.contains(" INFO ") && text.contains("bucket=\"photos\""), "{text}");
        assert!(!text.contains("detail"), "{text}");
        assert!(logged("debug", LogFormat::Text).contains("detail"));
        assert_eq!(logged("off", LogFormat::Text), "");
    }

    #[test]
    fn json() {
        let text = logged("info", LogFormat::Json);
        let line: serde_json::Value = serde_json::from_str(&text).expect("one object");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["bucket"], "photos");
        assert_eq!(line["message"], "line\nfeed");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn filters() {
        for good in ["info", "warn,ringway::ops=debug", "off"] {
            assert!(check_filter(good).is_ok(), "{good}");
        }
        for bad in ["info,,=", "ringway=loud"] {
            let error = check_filter(bad).expect_err(bad).to_string();
            assert!(error.contains("expected a level"), "{error}");
        }
    }
}

//! The one thread that writes log lines, and the bounded queue in front of it.
//! A core hands over whole lines and never waits: a queue that is full drops them and counts. It knows neither the
//! format of a line nor what is logged.
//! Source: a write to a pipe that nobody reads blocks for ever (pipe(7)); a core must not.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crossbeam::channel::{self, Receiver, Sender, TrySendError};
use crossbeam::queue::ArrayQueue;

/// Batches in the queue: with a full batch each, 8 MiB, a second of lines at 50,000 requests a second.
const BATCHES_MAX: usize = 512;
/// A batch grows to this before it is handed over; one line may go beyond.
pub const BATCH_BYTES: usize = 16 << 10;
/// Buffers kept for reuse; more are in use only while the output is slow.
const SPARES_MAX: usize = 16;
/// How long the end of the process waits for an output that takes nothing.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

enum Message {
    Lines(Vec<u8>),
    End,
}

/// Where lines are handed over; one for each thread that has some.
#[derive(Clone)]
pub struct LogSink {
    queue: Sender<Message>,
    shared: Arc<Shared>,
}

/// What the sinks and the writing thread share besides the queue. The thread holds no sender: without sinks it ends.
struct Shared {
    spares: ArrayQueue<Vec<u8>>,
    lines_dropped: AtomicU64,
}

/// The writing thread.
pub struct LogWriter {
    queue: Sender<Message>,
    finished: Receiver<()>,
}

/// Starts the thread that writes to `output`.
/// Errors: the system has no thread left.
pub fn start(output: Box<dyn Write + Send>) -> std::io::Result<(LogSink, LogWriter)> {
    let (queue, messages) = channel::bounded(BATCHES_MAX);
    let (finish, finished) = channel::bounded(1);
    let shared = Arc::new(Shared { spares: ArrayQueue::new(SPARES_MAX), lines_dropped: AtomicU64::new(0) });
    let sink = LogSink { queue: queue.clone(), shared: Arc::clone(&shared) };
    thread::Builder::new().name("ringway-log".to_owned()).spawn(move || {
        write_messages(output, &messages, &shared);
        // Nobody may be waiting.
        let _ = finish.send(());
    })?;
    Ok((sink, LogWriter { queue, finished }))
}

fn write_messages(mut output: Box<dyn Write + Send>, messages: &Receiver<Message>, shared: &Shared) {
    for message in messages {
        match message {
            Message::Lines(lines) => {
                // One write for whole lines: what others write to the same pipe or terminal cannot split them.
                // An output that is gone must not end the server; the lines count as dropped.
                if output.write_all(&lines).is_err() {
                    shared.count_dropped(&lines);
                }
                shared.recycle(lines);
            }
            Message::End => return,
        }
    }
}

impl LogSink {
    /// An empty buffer for the next lines.
    pub fn buffer(&self) -> Vec<u8> {
        self.shared.spares.pop().unwrap_or_default()
    }

    /// Hands `lines` over; when the queue is full they are dropped and counted.
    /// Shape: whole lines, each ending in a line feed.
    pub fn send(&self, lines: Vec<u8>) {
        match self.queue.try_send(Message::Lines(lines)) {
            Ok(()) => (),
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => {
                if let Message::Lines(lines) = message {
                    self.shared.count_dropped(&lines);
                    self.shared.recycle(lines);
                }
            }
        }
    }

    /// Lines that found the queue full or the output gone.
    pub fn lines_dropped(&self) -> u64 {
        self.shared.lines_dropped.load(Relaxed)
    }
}

impl Shared {
    fn count_dropped(&self, lines: &[u8]) {
        let count = lines.iter().filter(|byte| **byte == b'\n').count();
        self.lines_dropped.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Relaxed);
    }

    fn recycle(&self, mut lines: Vec<u8>) {
        lines.clear();
        // A buffer that one long line blew up is not kept, nor one too many.
        if lines.capacity() <= 2 * BATCH_BYTES {
            let _ = self.spares.push(lines);
        }
    }
}

impl LogWriter {
    /// Writes what is queued and ends the thread; later lines are dropped.
    /// An output that takes nothing is left behind: the end of the process waits at most a few seconds for it.
    pub fn finish(self) {
        if self.queue.send_timeout(Message::End, FINISH_TIMEOUT).is_ok() {
            let _ = self.finished.recv_timeout(FINISH_TIMEOUT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, pipe};

    #[test]
    fn lines_arrive_in_order() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("log");
        let (sink, writer) =
            start(Box::new(std::fs::File::create(&path).expect("create"))).expect("a thread");
        for index in 0..100 {
            let mut lines = sink.buffer();
            lines.extend_from_slice(format!("line {index}\n").as_bytes());
            sink.send(lines);
        }
        writer.finish();
        sink.send(b"after the end\n".to_vec());
        let want: String = (0..100).map(|index| format!("line {index}\n")).collect();
        assert_eq!(std::fs::read_to_string(&path).expect("read"), want);
        assert_eq!(sink.lines_dropped(), 1);
    }

    #[test]
    fn a_pipe_that_nobody_reads_drops_lines_and_blocks_nobody() {
        let (mut reader, pipe_writer) = pipe().expect("a pipe");
        let (sink, writer) = start(Box::new(pipe_writer)).expect("a thread");
        // Each batch is larger than a pipe holds by default (64 KiB), so the first one blocks the writing thread.
        let batch = [b"x".repeat(70 << 10), b"\ny\n".to_vec()].concat();
        for _ in 0..BATCHES_MAX + 50 {
            sink.send(batch.clone());
        }
        // One batch may be with the writing thread, the rest of the surplus found the queue full.
        assert!([49 * 2, 50 * 2].contains(&sink.lines_dropped()), "{}", sink.lines_dropped());
        let dropped_batches = usize::try_from(sink.lines_dropped() / 2).expect("few");
        let read = thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).expect("read to the end");
            all.len()
        });
        writer.finish();
        drop(sink);
        let written = BATCHES_MAX + 50 - dropped_batches;
        assert_eq!(read.join().expect("the reader"), written * batch.len());
    }
}

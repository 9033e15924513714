//! A client's side of a connection: bytes out, answers in, read by their own framing.
//!
//! Whatever is no answer fails the test, except where it says that the server may cut. A server that says nothing for
//! half a minute hangs, and that is a failure too.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::request::Signed;

const HANGS_AFTER: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("documents are UTF-8")
    }

    /// The `<Code>` of an error.
    pub fn code(&self) -> &str {
        let text = std::str::from_utf8(&self.body).unwrap_or_default();
        let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
        code.map_or("", |(code, _)| code)
    }

    /// Expects an error with its whole document.
    pub fn expect_error(&self, name: &str, status: u16, code: &str) {
        assert_eq!((self.status, self.code()), (status, code), "{name}: {self}");
        assert!(self.text().ends_with("</Error>"), "{name}: {self}");
    }

    pub fn expect_status(&self, name: &str, status: u16) {
        assert_eq!(self.status, status, "{name}: {self}");
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.body[..self.body.len().min(600)];
        write!(out, "{} {:?} {}", self.status, self.headers, shown.escape_ascii())
    }
}

/// An open connection.
pub struct Connection {
    stream: TcpStream,
    // Received and not yet part of an answer.
    received: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).expect("the server listens");
        // Each write is a segment of its own.
        stream.set_nodelay(true).expect("a TCP option");
        stream.set_read_timeout(Some(HANGS_AFTER)).expect("a socket option");
        stream.set_write_timeout(Some(HANGS_AFTER)).expect("a socket option");
        Connection { stream, received: Vec::new() }
    }

    /// Sends bytes that the server must take.
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes what is sent");
    }

    /// Sends bytes that the server may refuse to take.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will come.
    pub fn finish_sending(&self) {
        // A server that has cut the connection has nothing to be told.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends a request and reads its answer.
    pub fn exchange(&mut self, request: &Signed) -> Answer {
        self.write(&request.head);
        // A server may answer and close before it has taken all of a body that it refuses.
        let _ = self.try_write(&request.body);
        self.answer_to(&request.head)
    }

    /// Reads the answer to a request; one to HEAD has no body.
    pub fn answer_to(&mut self, head: &[u8]) -> Answer {
        self.try_answer_to(head).expect("an answer")
    }

    /// Reads the answer to a request, or the error that ended the connection.
    pub fn try_answer_to(&mut self, head: &[u8]) -> io::Result<Answer> {
        loop {
            let mut answer = self.answer_head()?;
            if answer.status == 100 {
                continue;
            }
            if !head.starts_with(b"HEAD ") && !matches!(answer.status, 204 | 304) {
                let length = answer.header("content-length").expect("every answer has a length");
                let length: usize = length.parse().expect("a number");
                while self.received.len() < length {
                    self.receive()?;
                }
                answer.body = self.received.drain(..length).collect();
            }
            return Ok(answer);
        }
    }

    /// Reads one head, an interim one too.
    pub fn answer_head(&mut self) -> io::Result<Answer> {
        let end = loop {
            if let Some(start) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break start + 4;
            }
            self.receive()?;
        };
        let head: Vec<u8> = self.received.drain(..end).collect();
        let head = String::from_utf8(head).expect("heads of these tests are ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status.and_then(|line| line.get(..3)).and_then(|digits| digits.parse().ok());
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").expect("a header line");
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Ok(Answer { status: status.expect("a status line"), headers: headers.collect(), body: Vec::new() })
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut bytes = [0; 64 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.received.extend(&bytes[..count]);
                Ok(())
            }
            // A receive with a time-out is not restarted after the process was stopped for a moment: socket(7).
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads until the server closes; what it sent, answers of before excepted.
    pub fn read_to_end(mut self) -> io::Result<Vec<u8>> {
        self.stream.read_to_end(&mut self.received)?;
        Ok(self.received)
    }

    /// Expects the server to close without another byte.
    pub fn expect_closed(self, name: &str) {
        let rest =
            self.read_to_end().unwrap_or_else(|error| panic!("{name}: cut instead of closed: {error}"));
        assert_eq!(rest.escape_ascii().to_string(), "", "{name}: bytes behind the answer");
    }
}

//! What an operation answers, as a value: status, headers and where the body comes from.
//!
//! `server/respond` adds what every response has (request id, date, framing) and sends it. Headers are few, so they stand
//! in one vector in the order they were added. Source: Amazon S3 API reference, "Common Response Headers".

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use uring::file::File;

use crate::ops::memory::Share;
use crate::s3::error::S3Error;

/// One response.
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Headers beside those that every response has; Content-Length comes from the body.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body.
    pub body: Body,
    /// The share of the core's memory that the body has until it is sent.
    pub share: Option<Share>,
}

/// Where a body comes from.
pub enum Body {
    /// There is none.
    Empty,
    /// An XML document.
    Xml(String),
    /// Bytes of an open file.
    File(FileBody),
    /// Headers that announce a body which is not sent: HEAD.
    Announced(u64),
    /// A document that takes long: 200 and white space until it is there, then the document or an `<Error>`.
    Slow(Pin<Box<dyn Future<Output = Result<String, S3Error>>>>),
}

/// A range of a file to be sent.
pub struct FileBody {
    /// The file, open for reading.
    pub file: File,
    /// Where the range starts.
    pub offset_bytes: u64,
    /// How long it is.
    pub length_bytes: u64,
    /// Whether reading may be done by plain calls where pages are resident.
    pub attributes: crate::fs::mount::Attributes,
}

impl Response {
    /// A response without a body.
    pub fn empty(status: u16) -> Response {
        Response { status, headers: Vec::new(), body: Body::Empty, share: None }
    }

    /// A 200 with an XML document.
    pub fn xml(document: String) -> Response {
        Response { status: 200, headers: Vec::new(), body: Body::Xml(document), share: None }
    }

    /// Adds a header.
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Response {
        self.headers.push((name.into(), value.into()));
        self
    }
}

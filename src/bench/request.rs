//! The requests of a run as bytes: head and signature. What does not change from request to request is made once.
//! Path-style addressing, keys `<prefix><number>`. It sends nothing and reads no clock.
//! Source: API pages PutObject, GetObject, HeadObject, CreateBucket; Signature Version 4 for S3.

use std::io::Write;
use std::sync::Arc;

use crate::auth::credential::Secret;
use crate::auth::payload_mode::PayloadMode;
use crate::auth::sign::{Signer, ToSign, target};
use crate::bench::answer::AnswerTo;
use crate::bench::body::Body;
use crate::bench::plan::{BenchPlan, Signing, Work};

/// What the requests of one phase do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Makes the bucket.
    CreateBucket,
    /// Works on objects.
    Object(Work),
}

impl Verb {
    /// What the answer's framing depends on.
    pub fn answer_to(self) -> AnswerTo {
        match self {
            Verb::Object(Work::Stat) => AnswerTo::Head,
            Verb::CreateBucket | Verb::Object(Work::Put | Work::Get) => AnswerTo::Other,
        }
    }

    fn method(self) -> &'static str {
        match self {
            Verb::CreateBucket | Verb::Object(Work::Put) => "PUT",
            Verb::Object(Work::Get) => "GET",
            Verb::Object(Work::Stat) => "HEAD",
        }
    }
}

/// One request, ready to be sent together with its phase's body.
#[derive(Default)]
pub struct Request {
    /// The head, its empty line included.
    pub head: Vec<u8>,
    /// The frames of a body whose chunks are signed; empty for any other body, whose frames are all alike.
    pub frames: Vec<u8>,
}

/// Writes the requests of one phase, on one core.
pub struct Writer {
    verb: Verb,
    path: String,
    keys_count: u64,
    // What is sent with every request and signed where anything is.
    headers: Vec<(&'static str, String)>,
    body: Arc<Body>,
    signing: Option<RequestSigning>,
}

struct RequestSigning {
    payload: PayloadMode,
    access_key_id: String,
    secret: Secret,
    region: String,
    signer: Option<(Signer, i64)>,
}

/// Servers accept a date that is 15 minutes off; a new signer costs less than one request a minute does.
const SIGNER_AGE_MAX_S: i64 = 60;

impl Writer {
    /// A writer of requests that do `verb` as `plan` says, with `body` as their body.
    pub fn new(plan: &BenchPlan, verb: Verb, body: Arc<Body>) -> Writer {
        let is_put = verb == Verb::Object(Work::Put);
        let payload = match plan.signing {
            Signing::Chunked if is_put => PayloadMode::SignedChunks,
            Signing::Trailer if is_put => PayloadMode::UnsignedTrailer,
            Signing::Header | Signing::Unsigned | Signing::None | Signing::Chunked | Signing::Trailer => {
                body.sha256().map_or(PayloadMode::Unsigned, PayloadMode::Sha256)
            }
        };
        let mut headers = vec![("Host", plan.target.authority())];
        if is_put {
            headers.extend(headers_of_body(&body, payload));
        }
        let signing = plan.credentials.as_ref().map(|credentials| RequestSigning {
            payload,
            access_key_id: credentials.access_key_id.clone(),
            secret: Secret::new(credentials.secret_access_key.to_string()),
            region: plan.region.clone(),
            signer: None,
        });
        let path = match verb {
            Verb::CreateBucket => format!("/{}", plan.bucket),
            Verb::Object(_) => format!("/{}/{}", plan.bucket, plan.prefix),
        };
        Writer { verb, path, keys_count: plan.keys_count, headers, body, signing }
    }

    /// Writes request number `index`. Units: seconds since 1970.
    /// Shape: what `request` held is overwritten; its memory is used again.
    pub fn write(&mut self, index: u64, now_unix_s: i64, request: &mut Request) {
        let path = match self.verb {
            Verb::CreateBucket => self.path.clone(),
            Verb::Object(_) => format!("{}{}", self.path, index % self.keys_count),
        };
        let method = self.verb.method();
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        request.head.clear();
        request.frames.clear();
        let head = &mut request.head;
        let written = "memory takes every write";
        write!(head, "{method} {} HTTP/1.1\r\n", target(path.as_bytes(), &[])).expect(written);
        for (name, value) in &headers {
            write!(head, "{name}: {value}\r\n").expect(written);
        }
        if let Some(signing) = &mut self.signing {
            let payload = signing.payload;
            let signer = signing.signer_at(now_unix_s);
            let to_sign = ToSign { method, path: path.as_bytes(), query: &[], headers: &headers };
            let signed = signer.sign(&to_sign, &payload);
            write!(
                head,
                "x-amz-date: {}\r\nx-amz-content-sha256: {}\r\nAuthorization: {}\r\n",
                signed.amz_date, signed.content_sha256, signed.authorization
            )
            .expect(written);
            if payload == PayloadMode::SignedChunks {
                self.body.sign_frames(signer.chunks(&signed), &mut request.frames);
            }
        }
        match self.verb {
            Verb::CreateBucket | Verb::Object(Work::Put) => {
                write!(head, "Content-Length: {}\r\n\r\n", self.body.wire_bytes()).expect(written);
            }
            Verb::Object(Work::Get | Work::Stat) => head.extend_from_slice(b"\r\n"),
        }
    }
}

impl RequestSigning {
    fn signer_at(&mut self, now_unix_s: i64) -> &Signer {
        let is_young =
            |(_, made_s): &(Signer, i64)| (*made_s..made_s + SIGNER_AGE_MAX_S).contains(&now_unix_s);
        if !self.signer.as_ref().is_some_and(is_young) {
            let signer = Signer::new(&self.access_key_id, &self.secret, &self.region, now_unix_s);
            self.signer = Some((signer, now_unix_s));
        }
        &self.signer.as_ref().expect("it was made above").0
    }
}

fn headers_of_body(body: &Body, payload: PayloadMode) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    match payload {
        PayloadMode::SignedChunks | PayloadMode::UnsignedTrailer => {
            headers.push(("Content-Encoding", "aws-chunked".to_owned()));
            headers.push(("x-amz-decoded-content-length", body.payload_bytes().to_string()));
        }
        PayloadMode::Unsigned | PayloadMode::Sha256(_) => {}
        PayloadMode::SignedChunksTrailer => unreachable!("no plan asks for a signed trailer"),
    }
    let checksum = body.checksum().map(|checksum| match payload {
        PayloadMode::UnsignedTrailer => ("x-amz-trailer", checksum.algorithm().header().to_owned()),
        PayloadMode::Unsigned
        | PayloadMode::Sha256(_)
        | PayloadMode::SignedChunks
        | PayloadMode::SignedChunksTrailer => (checksum.algorithm().header(), checksum.text()),
    });
    headers.extend(checksum);
    headers
}

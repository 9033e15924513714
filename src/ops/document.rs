//! Bodies that are read whole before anything is done: XML documents, and those that must be empty.
//!
//! A document lies in ordinary memory; a block is held only while what has arrived is taken out of it. What documents say
//! is not known here. Source: DESIGN rules as written down in ARCHITECTURE.md, "Limits".

use crate::digest::stream::{Kind, Wanted};
use crate::ops::incoming::{Incoming, NEVER, Progress};
use crate::ops::receive::{Inspection, Received};
use crate::s3::error::{Code, S3Error};
use crate::s3::payload::Payload;

/// Receives a document of at most `bytes_max` and verifies all that was declared of it.
///
/// Errors: MaxMessageLengthExceeded, and those of the body.
pub async fn receive_document(
    incoming: &mut Incoming<'_>,
    payload: &Payload,
    bytes_max: usize,
) -> Result<Vec<u8>, S3Error> {
    let too_long = || S3Error::new(Code::MaxMessageLengthExceeded);
    if payload.decoded_bytes.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_long());
    }
    let mut inspection = Inspection::new(payload, incoming, Wanted::NONE);
    let mut document = Vec::new();
    while incoming.progress() == Progress::Open {
        incoming.wait(NEVER).await?;
        let (end, mut block) = incoming.take_some().await;
        let decoded = inspection.take(&mut block[..end?])?;
        if document.len() + decoded > bytes_max {
            return Err(too_long());
        }
        document.extend_from_slice(&block[..decoded]);
    }
    inspection.finish()?;
    Ok(document)
}

/// Receives a body that must be empty when its framing is off, as that of a directory object; `None` when it is not.
///
/// Errors: those of the body.
pub async fn receive_empty(
    incoming: &mut Incoming<'_>,
    payload: &Payload,
) -> Result<Option<Received>, S3Error> {
    let mut inspection = Inspection::new(payload, incoming, Wanted::NONE.with(Kind::Md5));
    while incoming.progress() == Progress::Open {
        incoming.wait(NEVER).await?;
        let (end, mut block) = incoming.take_some().await;
        inspection.take(&mut block[..end?])?;
        if inspection.bytes > 0 {
            return Ok(None);
        }
    }
    inspection.finish().map(Some)
}

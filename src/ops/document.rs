//! Bodies that are read whole before anything is done: XML documents, and those that must be empty.
//!
//! A document lies in ordinary memory, of which it has a share of the core's budget for what has arrived; a block is held
//! only while what has arrived is taken out of it. What documents say is not known here.
//! Source: DESIGN rules as written down in ARCHITECTURE.md, "Limits".

use std::ops::Deref;

use uring::arena::BlockSize;
use uring::time;

use crate::digest::stream::{Kind, Wanted};
use crate::ops::incoming::{Arrival, Incoming, NEVER, Progress};
use crate::ops::memory::{GLANCE, Share};
use crate::ops::receive::{Inspection, Received};
use crate::s3::error::{Code, S3Error};
use crate::s3::payload::Payload;

/// A document, and its share of the core's memory.
pub struct Document {
    bytes: Vec<u8>,
    share: Share,
}

impl Deref for Document {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Document {
    /// Counts what comes of the document beside it.
    ///
    /// Errors: SlowDown.
    pub async fn grow(&mut self, bytes: u64) -> Result<(), S3Error> {
        self.share.grow(bytes).await
    }

    /// The share, for what came of the document, which goes.
    pub fn into_share(self) -> Share {
        self.share
    }

    /// Waits until something has arrived. While others wait for memory the client may be waited for no longer than they.
    async fn wait(&mut self, incoming: &mut Incoming<'_>) -> Result<(), S3Error> {
        loop {
            let began = time::now();
            let arrival = incoming.wait(began.after(GLANCE)).await?;
            if self.share.has_held_too_long(time::now().since(began)) {
                return Err(incoming.lost(Code::RequestTimeout));
            }
            if arrival == Arrival::There {
                return Ok(());
            }
        }
    }

    /// Makes room for what one receive may bring, by steps that grow with what has arrived.
    async fn reserve(&mut self, announced_bytes: usize) -> Result<(), S3Error> {
        let step = RECEIVED_BYTES_MAX.min(announced_bytes.saturating_sub(self.bytes.len()));
        if self.bytes.capacity() - self.bytes.len() >= step {
            return Ok(());
        }
        let step = step.max(self.bytes.len() / 2).min(announced_bytes - self.bytes.len());
        self.share.grow(step as u64).await?;
        self.bytes.reserve_exact(step);
        Ok(())
    }
}

/// What one receive brings at most: a small block.
const RECEIVED_BYTES_MAX: usize = BlockSize::Small.bytes();

/// Receives a document of at most `bytes_max` and verifies all that was declared of it.
///
/// Errors: MaxMessageLengthExceeded, SlowDown when there is no memory for it, RequestTimeout when the client is too slow
/// for those who wait for memory, and those of the body.
pub async fn receive_document(
    incoming: &mut Incoming<'_>,
    payload: &Payload,
    bytes_max: usize,
    share: Share,
) -> Result<Document, S3Error> {
    let too_long = || S3Error::new(Code::MaxMessageLengthExceeded);
    if payload.decoded_bytes.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_long());
    }
    let announced_bytes = payload.decoded_bytes.map_or(bytes_max, |bytes| bytes as usize);
    let mut inspection = Inspection::new(payload, incoming.take_auth(), Wanted::NONE);
    let mut document = Document { bytes: Vec::new(), share };
    while incoming.progress() == Progress::Open {
        document.wait(incoming).await?;
        // Not with a block in hand: this may wait for others, and they for blocks.
        document.reserve(announced_bytes).await?;
        let (end, mut block) = incoming.take_some().await;
        let decoded = inspection.take(&mut block[..end?])?;
        if document.bytes.len() + decoded > announced_bytes {
            return Err(too_long());
        }
        document.bytes.extend_from_slice(&block[..decoded]);
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
    let mut inspection = Inspection::new(payload, incoming.take_auth(), Wanted::NONE.with(Kind::Md5));
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

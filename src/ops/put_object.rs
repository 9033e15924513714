//! PutObject: a body becomes a file, or a directory when the key ends in `/`.
//!
//! Everything that can be refused without the body is refused before a byte of it is asked for. The name appears only
//! when bytes and attributes are whole and durable as the server promises.
//! Source: PutObject.

use crate::digest::stream::{Kind, Wanted};
use crate::fs::bucket::Bucket;
use crate::fs::commit::{self, Committed, Target};
use crate::fs::directory_object;
use crate::fs::metadata::view::Metadata;
use crate::fs::path::KeyKind;
use crate::fs::writer::{self, DIRECT_BYTES_MIN, OBJECT_BYTES_MAX, Path, Writer};
use crate::http::framing::BodyLength;
use crate::ops::call::{Call, Etags};
use crate::ops::document;
use crate::ops::incoming::Incoming;
use crate::ops::receive::{self, Received};
use crate::ops::response::Response;
use crate::s3::checksum::Checksum;
use crate::s3::error::{Code, S3Error};
use crate::s3::etag::ETag;
use crate::s3::headers::{StoredHeaders, UserMetadata};
use crate::s3::payload::{Payload, Purpose};
use crate::s3::precondition::WriteCondition;

/// Puts an object.
///
/// Errors: those of the key rules, conditions, body checks and the filesystem.
pub async fn put_object(
    call: &Call<'_>,
    length: BodyLength,
    incoming: &mut Incoming<'_>,
) -> Result<Response, S3Error> {
    let path = call.path_to_write()?;
    let condition = WriteCondition::of_put(call.head)?;
    let payload = Payload::of(call.head, length, Purpose::Object)?;
    let metadata = UserMetadata::of(call.head, call.presigned())?;
    let description = Description { headers: StoredHeaders::of(call.head), metadata };
    let bucket = Bucket::open(call.tree(), call.bucket()?, call.identity()).await?;
    let target = Target { tree: call.tree(), bucket: &bucket, path: &path, identity: call.identity() };
    target.check_early(&condition).await?;
    let (committed, checksum) = match path.kind() {
        KeyKind::File => {
            put_file(&target, call.service.etags, &payload, incoming, description, &condition).await?
        }
        KeyKind::Directory => put_directory(&target, &payload, incoming, description, &condition).await?,
    };
    let mut response = Response::empty(200).with("ETag", committed.etag.quoted());
    if let Some(checksum) = checksum {
        response = with_checksum(response, &checksum);
    }
    Ok(response)
}

/// What an object says besides its bytes.
struct Description {
    headers: StoredHeaders,
    metadata: UserMetadata,
}

impl Description {
    fn of_body(self, received: &Received) -> Metadata {
        let etag = match received.digests.md5 {
            Some(md5) => ETag::of_md5(md5),
            None => opaque(),
        };
        Metadata {
            etag,
            headers: self.headers,
            user_metadata: self.metadata,
            checksum: received.checksum,
            part_sizes: None,
            version_id: None,
        }
    }
}

/// An ETag that says nothing of the bytes and that no other object has.
fn opaque() -> ETag {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the kernel's randomness never fails after boot");
    ETag::synthetic(random)
}

/// Adds the headers of a checksum to a response.
pub fn with_checksum(response: Response, checksum: &Checksum) -> Response {
    response
        .with(checksum.algorithm().header(), checksum.text())
        .with("x-amz-checksum-type", checksum.checksum_type().wire())
}

async fn put_file(
    target: &Target<'_>,
    etags: Etags,
    payload: &Payload,
    incoming: &mut Incoming<'_>,
    description: Description,
    condition: &WriteCondition,
) -> Result<(Committed, Option<Checksum>), S3Error> {
    let announced = payload.decoded_bytes;
    writer::check_announced(target.bucket, announced.unwrap_or(0)).await?;
    let way =
        if announced.is_none_or(|bytes| bytes >= DIRECT_BYTES_MIN) { Path::Direct } else { Path::Cached };
    let staged = writer::stage(target.tree, target.bucket, target.path, way, target.identity).await?;
    let file_writer = Writer::new(&target.bucket.mount, &staged, announced);
    let extra = match etags {
        Etags::Md5 => Wanted::NONE.with(Kind::Md5),
        Etags::Opaque => Wanted::NONE,
    };
    let received = receive::receive_into(incoming, payload, extra, OBJECT_BYTES_MAX, file_writer).await?;
    let metadata = description.of_body(&received);
    let committed = commit::commit(target, staged, &metadata, condition).await?;
    Ok((committed, received.checksum))
}

async fn put_directory(
    target: &Target<'_>,
    payload: &Payload,
    incoming: &mut Incoming<'_>,
    description: Description,
    condition: &WriteCondition,
) -> Result<(Committed, Option<Checksum>), S3Error> {
    let refused = || {
        S3Error::new(Code::InvalidArgument)
            .with_message("a key that ends in `/` is a directory and takes no bytes")
    };
    if payload.decoded_bytes.is_some_and(|bytes| bytes > 0) {
        return Err(refused());
    }
    let received = match document::receive_empty(incoming, payload).await? {
        Some(received) => received,
        None => return Err(refused()),
    };
    let metadata = description.of_body(&received);
    let committed = directory_object::commit_directory(target, &metadata, condition).await?;
    Ok((committed, received.checksum))
}

//! DeleteObjects: up to 1,000 deletes in one request, each with its own condition and its own outcome.
//! An entry that fails leaves the others alone. What is no object, and a key that cannot be one, is deleted already.
//! Source: DeleteObjects.

use crate::fs::bucket::Bucket;
use crate::fs::commit::Target;
use crate::fs::together::together;
use crate::fs::{path, remove};
use crate::ops::call::Call;
use crate::ops::response::Response;
use crate::s3::error::{Code, S3Error};
use crate::s3::names::ObjectKey;
use crate::s3::precondition::WriteCondition;
use crate::s3::xml::delete_objects::{self, Entry, Outcome};

/// Entries deleted at once: their flushes then share a journal commit, which is most of what a delete costs.
const DELETES_MAX: usize = 16;

/// Deletes the objects that the document names.
///
/// Errors: MalformedXML, NoSuchBucket; those of single keys are in the answer.
pub async fn delete_objects(call: &Call<'_>, document: &[u8]) -> Result<Response, S3Error> {
    let delete = delete_objects::read(document)?;
    let bucket = Bucket::open(call.tree(), call.bucket()?, call.identity()).await?;
    let mut outcomes = Vec::with_capacity(delete.entries.len());
    for entries in delete.entries.chunks(DELETES_MAX) {
        let results = together(entries.iter().map(|entry| delete_entry(call, &bucket, entry))).await;
        outcomes.extend(results.into_iter().map(|result| match result {
            Ok(()) => Outcome::Deleted,
            Err(error) => Outcome::Failed(error),
        }));
    }
    Ok(Response::xml(delete_objects::write(delete.report, delete.entries.iter().zip(&outcomes))))
}

async fn delete_entry(call: &Call<'_>, bucket: &Bucket, entry: &Entry) -> Result<(), S3Error> {
    let condition = condition_of(entry)?;
    let key = ObjectKey::parse(entry.key.as_bytes());
    match key.ok().and_then(|key| path::of(&key).ok()) {
        Some(path) => {
            let target = Target { tree: call.tree(), bucket, path: &path, identity: call.identity() };
            remove::delete(&target, &condition).await
        }
        None => condition.check(None),
    }
}

/// What has to hold of the object of an entry.
///
/// Errors: NoSuchVersion for any version but the current one, NotImplemented for a condition nobody can check.
fn condition_of(entry: &Entry) -> Result<WriteCondition, S3Error> {
    if entry.version_id.as_deref().is_some_and(|id| id != "null") {
        return Err(S3Error::new(Code::NoSuchVersion));
    }
    if let Some(element) = entry.unknown_condition {
        return Err(S3Error::new(Code::NotImplemented)
            .with_message(format!("the condition {element} of an entry is not implemented")));
    }
    Ok(WriteCondition::of_delete_entry(entry.etag.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, entry: Entry, want: Result<WriteCondition, Code>) {
        assert_eq!(condition_of(&entry).map_err(|error| error.code()), want, "{name}");
    }

    #[test]
    fn conditions() {
        let entry = || Entry { key: "k".to_owned(), ..Entry::default() };
        check("none", entry(), Ok(WriteCondition::Unconditional));
        check(
            "the current version",
            Entry { version_id: Some("null".into()), ..entry() },
            Ok(WriteCondition::Unconditional),
        );
        check(
            "another version",
            Entry { version_id: Some("v1".into()), ..entry() },
            Err(Code::NoSuchVersion),
        );
        check("any object", Entry { etag: Some("*".into()), ..entry() }, Ok(WriteCondition::Present));
        let size = Entry { unknown_condition: Some("Size"), ..entry() };
        check("unknown", size, Err(Code::NotImplemented));
    }
}

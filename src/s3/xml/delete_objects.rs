//! Delete and DeleteResult, the document and the answer of DeleteObjects.
//! A condition of an entry that nobody can check is kept by name, so that the operation can refuse that entry.
//! It does not parse keys: an illegal one is an entry like any other, and deleted already.
//! Source: DeleteObjects, request and response syntax.

use crate::s3::error::S3Error;
use crate::s3::xml::reader::{Reader, malformed};
use crate::s3::xml::writer::Writer;

/// Most entries of one request.
pub const ENTRIES_MAX: usize = 1000;

/// Which results the client wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Every entry.
    Verbose,
    /// Errors alone (`<Quiet>true</Quiet>`).
    Quiet,
}

/// What is to be deleted.
#[derive(Debug, PartialEq, Eq)]
pub struct Delete {
    /// 1 to `ENTRIES_MAX` entries, in the order sent.
    pub entries: Vec<Entry>,
    /// Which results are reported.
    pub report: Report,
}

/// One entry of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The key as sent, not empty.
    pub key: String,
    /// The version, when one is named.
    pub version_id: Option<String>,
    /// The ETag that the object must have, as sent.
    pub etag: Option<String>,
    /// The element of a condition that S3 defines for directory buckets only.
    pub unknown_condition: Option<&'static str>,
}

/// What became of one entry.
#[derive(Debug)]
pub enum Outcome {
    /// There is no such object any more, or never was.
    Deleted,
    /// It stands.
    Failed(S3Error),
}

/// Reads the document.
///
/// Errors: MalformedXML, also for no entry or more than `ENTRIES_MAX`.
pub fn read(document: &[u8]) -> Result<Delete, S3Error> {
    let mut reader = Reader::document(document, "Delete")?;
    let mut delete = Delete { entries: Vec::new(), report: Report::Verbose };
    loop {
        match reader.next_child()? {
            None => break,
            Some("Object") if delete.entries.len() == ENTRIES_MAX => {
                return Err(malformed("too many entries"));
            }
            Some("Object") => delete.entries.push(read_entry(&mut reader)?),
            Some("Quiet") => delete.report = read_report(&reader.text()?)?,
            Some(_) => reader.skip()?,
        }
    }
    if delete.entries.is_empty() {
        return Err(malformed("no entry"));
    }
    Ok(delete)
}

fn read_entry(reader: &mut Reader<'_>) -> Result<Entry, S3Error> {
    let mut entry = Entry::default();
    loop {
        match reader.next_child()? {
            None => break,
            // Whoever looks at a request on its way must not see another key than the one that is deleted.
            Some("Key") if !entry.key.is_empty() => return Err(malformed("an entry with two keys")),
            Some("Key") => entry.key = reader.text()?.into_owned(),
            // An empty element is how some clients say that they name none.
            Some("VersionId") => {
                entry.version_id = Some(reader.text()?.into_owned()).filter(|id| !id.is_empty())
            }
            Some("ETag") => entry.etag = Some(reader.text()?.into_owned()),
            Some("LastModifiedTime") => {
                entry.unknown_condition = Some("LastModifiedTime");
                reader.skip()?;
            }
            Some("Size") => {
                entry.unknown_condition = Some("Size");
                reader.skip()?;
            }
            Some(_) => reader.skip()?,
        }
    }
    if entry.key.is_empty() {
        return Err(malformed("an entry without a key"));
    }
    Ok(entry)
}

fn read_report(text: &str) -> Result<Report, S3Error> {
    match text.trim() {
        "true" | "1" => Ok(Report::Quiet),
        // Some clients write the capital of their own language's boolean.
        text if text.eq_ignore_ascii_case("true") => Ok(Report::Quiet),
        text if text.eq_ignore_ascii_case("false") || text == "0" || text.is_empty() => Ok(Report::Verbose),
        _ => Err(malformed("Quiet is neither true nor false")),
    }
}

/// The answer: each entry with what became of it, in the order of the request.
pub fn write<'a>(report: Report, outcomes: impl IntoIterator<Item = (&'a Entry, &'a Outcome)>) -> String {
    let mut xml = Writer::with_capacity(8 * 1024);
    xml.open_root("DeleteResult");
    for (entry, outcome) in outcomes {
        match (outcome, report) {
            (Outcome::Deleted, Report::Quiet) => {}
            (Outcome::Deleted, Report::Verbose) => {
                xml.open("Deleted");
                xml.text("Key", &entry.key);
                xml.text_if("VersionId", entry.version_id.as_deref());
                xml.close("Deleted");
            }
            (Outcome::Failed(error), Report::Quiet | Report::Verbose) => {
                xml.open("Error");
                xml.text("Key", &entry.key);
                xml.text_if("VersionId", entry.version_id.as_deref());
                xml.text("Code", error.code().wire());
                xml.text("Message", error.message());
                xml.close("Error");
            }
        }
    }
    xml.close("DeleteResult");
    xml.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::error::Code;
    use proptest::prelude::*;

    fn entry(key: &str) -> Entry {
        Entry { key: key.to_owned(), ..Entry::default() }
    }

    fn check(name: &str, inner: &str, want: Option<(Report, Vec<Entry>)>) {
        let document = format!("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inner}</Delete>");
        match (read(document.as_bytes()), want) {
            (Ok(got), Some((report, entries))) => assert_eq!(got, Delete { entries, report }, "{name}"),
            (Err(error), None) => assert_eq!(error.code(), Code::MalformedXML, "{name}"),
            (got, want) => panic!("{name}: {got:?} and not {want:?}"),
        }
    }

    #[test]
    fn documents() {
        use Report::{Quiet, Verbose};
        let a = "<Object><Key>a</Key></Object>";
        check("one", a, Some((Verbose, vec![entry("a")])));
        check("quiet before", &format!("<Quiet>true</Quiet>{a}"), Some((Quiet, vec![entry("a")])));
        check("quiet behind", &format!("{a}<Quiet> True </Quiet>"), Some((Quiet, vec![entry("a")])));
        check("not quiet", &format!("{a}<Quiet>false</Quiet>"), Some((Verbose, vec![entry("a")])));
        check("perhaps quiet", &format!("{a}<Quiet>perhaps</Quiet>"), None);
        check(
            "spaces and references",
            "<Object><Key> a&#x20;b&amp; </Key></Object>",
            Some((Verbose, vec![entry(" a b& ")])),
        );
        let whole = "<Object><ETag>&quot;0&quot;</ETag><Key>k</Key><VersionId>null</VersionId></Object>";
        let want = Entry { version_id: Some("null".into()), etag: Some("\"0\"".into()), ..entry("k") };
        check("all of it", whole, Some((Verbose, vec![want])));
        check(
            "empty version",
            "<Object><Key>k</Key><VersionId/></Object>",
            Some((Verbose, vec![entry("k")])),
        );
        for element in ["LastModifiedTime", "Size"] {
            let want = Entry { unknown_condition: Some(element), ..entry("k") };
            let inner = format!("<Object><Key>k</Key><{element}>1</{element}></Object>");
            check(element, &inner, Some((Verbose, vec![want])));
        }
        check("none", "", None);
        check("no key", "<Object></Object>", None);
        check("empty key", "<Object><Key/></Object>", None);
        check("two keys", "<Object><Key>a</Key><Key>b</Key></Object>", None);
        check("text", "<Object>k</Object>", None);
        check("as many as may be", &a.repeat(1000), Some((Verbose, (0..1000).map(|_| entry("a")).collect())));
        check("too many", &a.repeat(1001), None);
    }

    #[test]
    fn golden() {
        let entries = [
            entry("a&b"),
            Entry { version_id: Some("null".into()), ..entry("c") },
            Entry { version_id: Some("v1".into()), ..entry("d") },
        ];
        let outcomes = [
            Outcome::Deleted,
            Outcome::Deleted,
            Outcome::Failed(S3Error::new(Code::NoSuchVersion).with_message("no <version>")),
        ];
        let failed = "<Error><Key>d</Key><VersionId>v1</VersionId><Code>NoSuchVersion</Code>\
                      <Message>no &lt;version&gt;</Message></Error>";
        let deleted =
            "<Deleted><Key>a&amp;b</Key></Deleted><Deleted><Key>c</Key><VersionId>null</VersionId></Deleted>";
        for (report, want) in
            [(Report::Verbose, format!("{deleted}{failed}")), (Report::Quiet, failed.to_owned())]
        {
            assert_eq!(
                write(report, entries.iter().zip(&outcomes)),
                format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                     <DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{want}</DeleteResult>"
                )
            );
        }
    }

    proptest! {
        #[test]
        fn no_document_makes_it_panic(
            inner in "(<Object>|</Object>|<Key>|</Key>|<Quiet>|</Quiet>|<ETag/>|a|&amp;|true|<|>){0,20}"
        ) {
            let _ = read(format!("<Delete>{inner}</Delete>").as_bytes());
        }
    }
}

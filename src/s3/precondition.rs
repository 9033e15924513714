//! Conditional requests: what the headers ask, and what follows for an object.
//! Reads take the four headers of RFC 9110 in its order of precedence. Writes take what can be checked atomically:
//! `If-None-Match: *` and `If-Match` with one tag; everything else is refused by name, never ignored.
//! It looks at no object: the caller brings the tag and the time, under the key's lock where it writes.
//! Source: RFC 9110 sections 13.1 and 13.2.2; PutObject, DeleteObject, "Conditional requests".

use crate::http::date::parse_http_date;
use crate::http::head::{Method, RequestHead};
use crate::s3::error::{Code, S3Error};
use crate::s3::etag::{Comparison, ETag, ETagList, GivenETag};
use crate::s3::headers::not_implemented;
use crate::s3::operation::Operation;

/// The conditions of GetObject and HeadObject.
#[derive(Debug, Default)]
pub struct ReadConditions {
    if_match: Option<ETagList>,
    if_none_match: Option<ETagList>,
    if_modified_since_unix_s: Option<i64>,
    if_unmodified_since_unix_s: Option<i64>,
    if_range: Option<IfRange>,
}

#[derive(Debug)]
enum IfRange {
    Tag(GivenETag),
    Date(i64),
}

/// What a read does after its conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// The object is sent.
    Proceed,
    /// 304 with the object's ETag and Last-Modified, and no body.
    NotModified,
    /// 412, for the header named.
    Failed(&'static str),
}

/// Whether a Range header counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeUse {
    /// It does.
    Applied,
    /// The object is not the one that the client has a part of, so it gets the whole.
    Ignored,
}

impl ReadConditions {
    /// Reads the headers. A date that is none is no condition (RFC 9110 13.1.3); a tag that is none matches nothing.
    ///
    /// Units: `now_unix_s` only places two-digit years of the obsolete date form in their century.
    pub fn of(head: &RequestHead, now_unix_s: i64) -> ReadConditions {
        let date = |name| head.header_text(name).and_then(|text| parse_http_date(text, now_unix_s).ok());
        ReadConditions {
            if_match: list_of(head, "if-match"),
            if_none_match: list_of(head, "if-none-match"),
            if_modified_since_unix_s: date("if-modified-since"),
            if_unmodified_since_unix_s: date("if-unmodified-since"),
            if_range: head.header_text("if-range").map(|text| match parse_http_date(text, now_unix_s) {
                Ok(unix_s) => IfRange::Date(unix_s),
                Err(_) => IfRange::Tag(GivenETag::parse(text)),
            }),
        }
    }

    /// Decides for an object that exists.
    ///
    /// Shape: If-Match, else If-Unmodified-Since; then If-None-Match, else If-Modified-Since. A tag beats a date.
    /// Units: whole seconds, as Last-Modified shows them.
    pub fn evaluate(&self, etag: &ETag, last_modified_unix_s: i64) -> ReadOutcome {
        match (&self.if_match, self.if_unmodified_since_unix_s) {
            (Some(list), _) if !list.matches(etag, Comparison::Strong) => {
                return ReadOutcome::Failed("If-Match");
            }
            (None, Some(date)) if last_modified_unix_s > date => {
                return ReadOutcome::Failed("If-Unmodified-Since");
            }
            (Some(_) | None, _) => {}
        }
        match (&self.if_none_match, self.if_modified_since_unix_s) {
            (Some(list), _) if list.matches(etag, Comparison::Weak) => ReadOutcome::NotModified,
            (None, Some(date)) if last_modified_unix_s <= date => ReadOutcome::NotModified,
            (Some(_) | None, _) => ReadOutcome::Proceed,
        }
    }

    /// Decides whether a Range header counts: without If-Range always, else only for the very same object.
    pub fn range_use(&self, etag: &ETag, last_modified_unix_s: i64) -> RangeUse {
        let same = match &self.if_range {
            None => true,
            Some(IfRange::Tag(given)) => given.matches(etag, Comparison::Strong),
            Some(IfRange::Date(date)) => *date == last_modified_unix_s,
        };
        if same { RangeUse::Applied } else { RangeUse::Ignored }
    }
}

/// 412 that names its condition.
pub fn precondition_failed(condition: &'static str) -> S3Error {
    S3Error::new(Code::PreconditionFailed).with_element("Condition", condition)
}

/// The condition of a write: PutObject, CompleteMultipartUpload, DeleteObject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteCondition {
    /// None.
    Unconditional,
    /// `If-None-Match: *`: the key must not exist.
    Absent,
    /// `If-Match: *`: the key must exist. Deletes only.
    Present,
    /// `If-Match` with one tag: the key must exist with this tag.
    Matches(GivenETag),
}

impl WriteCondition {
    /// The condition of a request that makes an object.
    ///
    /// Errors: NotImplemented, naming the header that cannot be honoured.
    pub fn of_put(head: &RequestHead) -> Result<WriteCondition, S3Error> {
        refuse_dates(head)?;
        match (list_of(head, "if-match"), list_of(head, "if-none-match")) {
            (None, None) => Ok(WriteCondition::Unconditional),
            (None, Some(ETagList::Any)) => Ok(WriteCondition::Absent),
            (None | Some(_), Some(_)) => Err(not_implemented("If-None-Match")),
            (Some(list), None) => one_tag(&list).map(WriteCondition::Matches),
        }
    }

    /// The condition of DeleteObject, which takes `If-Match: *` too and no If-None-Match.
    ///
    /// Errors: NotImplemented, naming the header that cannot be honoured.
    pub fn of_delete(head: &RequestHead) -> Result<WriteCondition, S3Error> {
        refuse_dates(head)?;
        match (list_of(head, "if-match"), list_of(head, "if-none-match")) {
            (None, None) => Ok(WriteCondition::Unconditional),
            (None | Some(_), Some(_)) => Err(not_implemented("If-None-Match")),
            (Some(ETagList::Any), None) => Ok(WriteCondition::Present),
            (Some(list), None) => one_tag(&list).map(WriteCondition::Matches),
        }
    }

    /// The condition that one entry of DeleteObjects carries in its `ETag` element.
    pub fn of_delete_entry(etag: Option<&str>) -> WriteCondition {
        match etag.map(str::trim) {
            None => WriteCondition::Unconditional,
            Some("*") => WriteCondition::Present,
            Some(text) => WriteCondition::Matches(GivenETag::parse(text)),
        }
    }

    /// Decides, given the tag of the object that the key has now.
    ///
    /// Errors: PreconditionFailed; NoSuchKey for an If-Match of a key that is not there, as AWS answers it.
    pub fn check(&self, current: Option<&ETag>) -> Result<(), S3Error> {
        match (self, current) {
            (WriteCondition::Unconditional, _) => Ok(()),
            (WriteCondition::Absent, None) => Ok(()),
            (WriteCondition::Absent, Some(_)) => Err(precondition_failed("If-None-Match")),
            (WriteCondition::Present | WriteCondition::Matches(_), None) => {
                Err(S3Error::new(Code::NoSuchKey))
            }
            (WriteCondition::Present, Some(_)) => Ok(()),
            (WriteCondition::Matches(given), Some(etag)) if given.matches(etag, Comparison::Strong) => Ok(()),
            (WriteCondition::Matches(_), Some(_)) => Err(precondition_failed("If-Match")),
        }
    }
}

/// Refuses the conditions of a request that changes something when its operation looks at none: done in spite of them it
/// would do what its client has forbidden. A read without an ETag of its own changes nothing and is answered.
///
/// Errors: NotImplemented, naming the header.
pub fn refuse_unheeded(operation: Operation, head: &RequestHead) -> Result<(), S3Error> {
    let is_read = matches!(head.method(), Method::Get | Method::Head);
    if is_read || heeds_conditions(operation) {
        return Ok(());
    }
    refuse(head, &["If-Match", "If-None-Match"])?;
    refuse_dates(head)
}

/// Whether an operation that changes something reads its conditions as a [`WriteCondition`].
fn heeds_conditions(operation: Operation) -> bool {
    matches!(operation, Operation::PutObject | Operation::CompleteMultipartUpload | Operation::DeleteObject)
}

/// A date is no condition for a write: two writes of one second would both hold.
fn refuse_dates(head: &RequestHead) -> Result<(), S3Error> {
    refuse(head, &["If-Modified-Since", "If-Unmodified-Since"])
}

fn refuse(head: &RequestHead, names: &[&str]) -> Result<(), S3Error> {
    match names.iter().find(|name| head.header_count(name) > 0) {
        Some(name) => Err(not_implemented(name)),
        None => Ok(()),
    }
}

fn one_tag(list: &ETagList) -> Result<GivenETag, S3Error> {
    match list {
        ETagList::Tags(tags) => match tags.as_slice() {
            [tag] => Ok(*tag),
            _ => Err(not_implemented("If-Match")),
        },
        ETagList::Any => Err(not_implemented("If-Match")),
    }
}

/// The list of a header that may come on several lines, which then count as one (RFC 9110 5.3).
fn list_of(head: &RequestHead, name: &str) -> Option<ETagList> {
    let mut whole = None;
    for (sent, value) in head.headers() {
        if sent.eq_ignore_ascii_case(name) {
            // What is no UTF-8 is a tag of nobody: the condition stays, and matches nothing.
            let line = ETagList::parse(std::str::from_utf8(value).unwrap_or_default());
            whole = Some(match whole {
                None => line,
                Some(before) => joined(before, line),
            });
        }
    }
    whole
}

fn joined(before: ETagList, line: ETagList) -> ETagList {
    match (before, line) {
        (ETagList::Tags(mut tags), ETagList::Tags(more)) => {
            tags.extend(more);
            ETagList::Tags(tags)
        }
        (ETagList::Any, ETagList::Any | ETagList::Tags(_)) | (ETagList::Tags(_), ETagList::Any) => {
            ETagList::Any
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::headers::tests::head_of;

    const NOW_UNIX_S: i64 = 1_700_000_000;
    /// Sun, 06 Nov 1994 08:49:37 GMT
    const MODIFIED_UNIX_S: i64 = 784_111_777;
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const GOOD: &str = "\"9b2cf535f27731c974343645a3985328\"";
    const BAD: &str = "\"ABCORZ\"";

    fn etag() -> ETag {
        ETag::parse(GOOD).unwrap()
    }

    fn check_read(headers: &[(&str, &str)], want: ReadOutcome) {
        let conditions = ReadConditions::of(&head_of("GET", "/b/k", headers), NOW_UNIX_S);
        assert_eq!(conditions.evaluate(&etag(), MODIFIED_UNIX_S), want, "{headers:?}");
    }

    #[test]
    fn reads_in_the_order_of_rfc_9110() {
        use ReadOutcome::{Failed, NotModified, Proceed};
        let cases: [(&[(&str, &str)], ReadOutcome); 20] = [
            (&[], Proceed),
            (&[("If-Match", GOOD)], Proceed),
            (&[("If-Match", "*")], Proceed),
            (&[("If-Match", BAD)], Failed("If-Match")),
            (&[("If-Match", BAD), ("If-Match", GOOD)], Proceed),
            (&[("If-Match", "W/\"9b2cf535f27731c974343645a3985328\"")], Failed("If-Match")),
            (&[("If-Unmodified-Since", SAME)], Proceed),
            (&[("If-Unmodified-Since", EARLIER)], Failed("If-Unmodified-Since")),
            (&[("If-Unmodified-Since", "yesterday")], Proceed),
            (&[("If-Match", GOOD), ("If-Unmodified-Since", EARLIER)], Proceed),
            (&[("If-None-Match", GOOD)], NotModified),
            (&[("If-None-Match", "*")], NotModified),
            (&[("If-None-Match", "W/\"9b2cf535f27731c974343645a3985328\"")], NotModified),
            (&[("If-None-Match", BAD)], Proceed),
            (&[("If-Modified-Since", SAME)], NotModified),
            (&[("If-Modified-Since", EARLIER)], Proceed),
            (&[("If-None-Match", BAD), ("If-Modified-Since", SAME)], Proceed),
            (&[("If-None-Match", GOOD), ("If-Modified-Since", EARLIER)], NotModified),
            (&[("If-Match", BAD), ("If-None-Match", GOOD)], Failed("If-Match")),
            (&[("If-Match", GOOD), ("If-None-Match", GOOD)], NotModified),
        ];
        for (headers, want) in cases {
            check_read(headers, want);
        }
    }

    #[test]
    fn if_range() {
        let cases = [
            (None, RangeUse::Applied),
            (Some(GOOD), RangeUse::Applied),
            (Some(BAD), RangeUse::Ignored),
            (Some("W/\"9b2cf535f27731c974343645a3985328\""), RangeUse::Ignored),
            (Some(SAME), RangeUse::Applied),
            (Some(EARLIER), RangeUse::Ignored),
        ];
        for (value, want) in cases {
            let headers: Vec<_> = value.map(|value| ("If-Range", value)).into_iter().collect();
            let conditions = ReadConditions::of(&head_of("GET", "/b/k", &headers), NOW_UNIX_S);
            assert_eq!(conditions.range_use(&etag(), MODIFIED_UNIX_S), want, "{value:?}");
        }
    }

    /// What follows for a put and a delete: `ok`, or the code, on an object with the good tag and on no object.
    fn check_write(headers: &[(&str, &str)], put: [&str; 2], delete: [&str; 2]) {
        let head = head_of("PUT", "/b/k", headers);
        for (name, parsed, want) in [
            ("put", WriteCondition::of_put(&head), put),
            ("delete", WriteCondition::of_delete(&head), delete),
        ] {
            let word = |current: Option<&ETag>| match &parsed {
                Ok(condition) => condition.check(current).map_or_else(|error| error.code().wire(), |()| "ok"),
                Err(error) => error.code().wire(),
            };
            assert_eq!([word(Some(&etag())), word(None)], want, "{name} {headers:?}");
        }
    }

    #[test]
    fn writes_honour_or_refuse() {
        let refused = ["NotImplemented"; 2];
        check_write(&[], ["ok"; 2], ["ok"; 2]);
        check_write(&[("If-None-Match", "*")], ["PreconditionFailed", "ok"], refused);
        check_write(&[("If-None-Match", GOOD)], refused, refused);
        check_write(&[("If-Match", GOOD)], ["ok", "NoSuchKey"], ["ok", "NoSuchKey"]);
        check_write(
            &[("If-Match", BAD)],
            ["PreconditionFailed", "NoSuchKey"],
            ["PreconditionFailed", "NoSuchKey"],
        );
        check_write(&[("If-Match", "*")], refused, ["ok", "NoSuchKey"]);
        check_write(&[("If-Match", GOOD), ("If-Match", BAD)], refused, refused);
        check_write(&[("If-Match", GOOD), ("If-None-Match", "*")], refused, refused);
        check_write(&[("If-Modified-Since", SAME)], refused, refused);
        check_write(&[("If-Unmodified-Since", "nonsense")], refused, refused);
    }

    #[test]
    fn what_heeds_no_condition_refuses_each() {
        let unheeding = [
            ("PUT", Operation::CreateBucket),
            ("PUT", Operation::UploadPart),
            ("POST", Operation::CreateMultipartUpload),
            ("POST", Operation::DeleteObjects),
            ("DELETE", Operation::AbortMultipartUpload),
            ("DELETE", Operation::DeleteBucket),
        ];
        for name in ["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"] {
            for (method, operation) in unheeding {
                let refused = refuse_unheeded(operation, &head_of(method, "/b/k", &[(name, "*")]));
                let elements = refused.map_err(|error| error.elements().to_vec());
                assert_eq!(elements, Err(vec![("Header", name.to_string())]), "{operation:?}");
            }
            for (method, operation) in [("PUT", Operation::PutObject), ("GET", Operation::ListObjectsV2)] {
                let head = head_of(method, "/b/k", &[(name, "*")]);
                assert!(refuse_unheeded(operation, &head).is_ok(), "{operation:?}");
            }
        }
        assert!(refuse_unheeded(Operation::UploadPart, &head_of("PUT", "/b/k", &[])).is_ok());
    }

    #[test]
    fn the_refused_header_is_named() {
        let error = WriteCondition::of_put(&head_of("PUT", "/b/k", &[("If-None-Match", GOOD)])).unwrap_err();
        assert_eq!(error.elements(), [("Header", "If-None-Match".to_string())]);
    }

    #[test]
    fn entries_of_delete_objects() {
        assert_eq!(WriteCondition::of_delete_entry(None), WriteCondition::Unconditional);
        assert_eq!(WriteCondition::of_delete_entry(Some("*")), WriteCondition::Present);
        assert!(WriteCondition::of_delete_entry(Some(GOOD)).check(Some(&etag())).is_ok());
        assert!(WriteCondition::of_delete_entry(Some("")).check(Some(&etag())).is_err());
    }
}

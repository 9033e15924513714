//! ListAllMyBucketsResult, the answer of ListBuckets.
//! Which buckets, in which order, and where a page ends is the operation's business.
//! Source: ListBuckets, response syntax.

use crate::s3::xml::writer::{Owner, Writer};

/// A page of buckets.
#[derive(Debug)]
pub struct ListBuckets<'a> {
    /// Who owns them.
    pub owner: Owner<'a>,
    /// The buckets, by name.
    pub buckets: Vec<Bucket<'a>>,
    /// Where the next page starts, when there is one.
    pub continuation_token: Option<&'a str>,
    /// The prefix that was asked for.
    pub prefix: Option<&'a str>,
}

/// One bucket.
#[derive(Clone, Copy, Debug)]
pub struct Bucket<'a> {
    /// Its name.
    pub name: &'a str,
    /// When it was made. Units: seconds since 1970.
    pub created_unix_s: i64,
}

/// The document.
pub fn write(list: &ListBuckets<'_>) -> String {
    let mut xml = Writer::with_capacity(list.buckets.len().saturating_mul(128).saturating_add(512));
    xml.open_root("ListAllMyBucketsResult");
    xml.owner("Owner", &list.owner);
    xml.open("Buckets");
    for bucket in &list.buckets {
        xml.open("Bucket");
        xml.text("Name", bucket.name);
        xml.time("CreationDate", bucket.created_unix_s);
        xml.close("Bucket");
    }
    xml.close("Buckets");
    xml.text_if("ContinuationToken", list.continuation_token);
    xml.text_if("Prefix", list.prefix);
    xml.close("ListAllMyBucketsResult");
    xml.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(buckets: &[(&str, i64)], token: Option<&str>, prefix: Option<&str>, want: &str) {
        let list = ListBuckets {
            owner: Owner { id: "75aa", display_name: "root" },
            buckets: buckets.iter().map(|&(name, created_unix_s)| Bucket { name, created_unix_s }).collect(),
            continuation_token: token,
            prefix,
        };
        let want = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <ListAllMyBucketsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Owner><ID>75aa</ID><DisplayName>root</DisplayName></Owner>{want}</ListAllMyBucketsResult>"
        );
        assert_eq!(write(&list), want);
    }

    #[test]
    fn golden() {
        check(&[], None, None, "<Buckets></Buckets>");
        check(
            &[("a-b", 0), ("c.d", 1_255_369_830)],
            Some("dG9rZW4"),
            Some("a&"),
            "<Buckets><Bucket><Name>a-b</Name><CreationDate>1970-01-01T00:00:00.000Z</CreationDate></Bucket>\
             <Bucket><Name>c.d</Name><CreationDate>2009-10-12T17:50:30.000Z</CreationDate></Bucket></Buckets>\
             <ContinuationToken>dG9rZW4</ContinuationToken><Prefix>a&amp;</Prefix>",
        );
    }
}

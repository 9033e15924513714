//! The answer of ListBuckets.
//! It writes what it is given; paging and access are the caller's.
//! Source: Amazon S3 API reference, ListBuckets, "Response syntax" and its example.

use crate::s3::names::BucketName;
use crate::s3::xml::writer::{Owner, Writer};

/// One page of buckets.
pub struct ListBucketsResult<'a> {
    /// Whom they belong to.
    pub owner: Owner<'a>,
    /// The buckets, by name.
    pub buckets: &'a [ListedBucket],
    /// Where the next page begins, when there is one.
    pub continuation_token: Option<&'a str>,
    /// The prefix asked for.
    pub prefix: Option<&'a str>,
}

/// A bucket in the list.
#[derive(Clone, Debug)]
pub struct ListedBucket {
    /// Its name.
    pub name: BucketName,
    /// When it was made. Units: unix seconds.
    pub creation_unix_s: i64,
}

/// The document.
pub fn write(result: &ListBucketsResult<'_>) -> String {
    let mut xml = Writer::with_capacity(result.buckets.len().saturating_mul(128).saturating_add(512));
    xml.open_root("ListAllMyBucketsResult");
    xml.owner("Owner", &result.owner);
    xml.open("Buckets");
    for bucket in result.buckets {
        xml.open("Bucket");
        xml.text("Name", bucket.name.as_str());
        xml.time("CreationDate", bucket.creation_unix_s);
        xml.close("Bucket");
    }
    xml.close("Buckets");
    xml.text_if("ContinuationToken", result.continuation_token);
    xml.text_if("Prefix", result.prefix);
    xml.close("ListAllMyBucketsResult");
    xml.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::xml::writer::tests::check_document;

    #[test]
    fn the_example_of_the_reference() {
        let bucket =
            |name, creation_unix_s| ListedBucket { name: BucketName::parse(name).unwrap(), creation_unix_s };
        let buckets =
            [bucket("amzn-s3-demo-bucket", 1_575_325_535), bucket("amzn-s3-demo-bucket1", 1_568_425_182)];
        let result = ListBucketsResult {
            owner: Owner { id: "AIDACKCEVSQ6C2EXAMPLE", display_name: "Account+Name" },
            buckets: &buckets,
            continuation_token: None,
            prefix: None,
        };
        check_document(
            &write(&result),
            "<ListAllMyBucketsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Owner><ID>AIDACKCEVSQ6C2EXAMPLE</ID><DisplayName>Account+Name</DisplayName></Owner>\
             <Buckets><Bucket><Name>amzn-s3-demo-bucket</Name><CreationDate>2019-12-02T22:25:35.000Z</CreationDate></Bucket>\
             <Bucket><Name>amzn-s3-demo-bucket1</Name><CreationDate>2019-09-14T01:39:42.000Z</CreationDate></Bucket></Buckets>\
             </ListAllMyBucketsResult>",
        );
    }

    #[test]
    fn an_empty_page_of_many() {
        let result = ListBucketsResult {
            owner: Owner { id: "1", display_name: "root" },
            buckets: &[],
            continuation_token: Some("t&"),
            prefix: Some("a"),
        };
        check_document(
            &write(&result),
            "<ListAllMyBucketsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Owner><ID>1</ID><DisplayName>root</DisplayName></Owner><Buckets></Buckets>\
             <ContinuationToken>t&amp;</ContinuationToken><Prefix>a</Prefix></ListAllMyBucketsResult>",
        );
    }
}

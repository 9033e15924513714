//! CreateBucketConfiguration, the optional document of CreateBucket.
//! Only the region is understood. What describes another kind of bucket, or tags, is refused by name: a bucket that was
//! made without what was asked for would be the wrong one. Whether the region is ours is the operation's question.
//! Source: CreateBucket, request syntax.

use crate::s3::error::{Code, S3Error};
use crate::s3::xml::reader::Reader;

/// What a client asks of a new bucket.
#[derive(Debug, PartialEq, Eq)]
pub struct CreateBucketConfiguration {
    /// The region, as sent; none or empty means the endpoint's own.
    pub location: Option<String>,
}

/// Reads the document.
///
/// Errors: MalformedXML; NotImplemented for what would make another kind of bucket.
pub fn read(document: &[u8]) -> Result<CreateBucketConfiguration, S3Error> {
    let mut reader = Reader::document(document, "CreateBucketConfiguration")?;
    let mut location = None;
    loop {
        match reader.next_child()? {
            None => return Ok(CreateBucketConfiguration { location }),
            Some("LocationConstraint") => location = Some(reader.text()?.trim().to_owned()),
            Some(element @ ("Location" | "Bucket" | "Tags")) => {
                return Err(S3Error::new(Code::NotImplemented)
                    .with_message(format!("{element} of CreateBucketConfiguration is not implemented")));
            }
            Some(_) => reader.skip()?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, inner: &str, want: Result<Option<&str>, Code>) {
        let document = format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inner}\
             </CreateBucketConfiguration>"
        );
        let got = read(document.as_bytes()).map(|read| read.location).map_err(|error| error.code());
        assert_eq!(got, want.map(|location| location.map(str::to_owned)), "{name}");
    }

    #[test]
    fn configurations() {
        check("nothing", "", Ok(None));
        check("empty", "<LocationConstraint/>", Ok(Some("")));
        check("a region", "<LocationConstraint>eu-west-1</LocationConstraint>", Ok(Some("eu-west-1")));
        check("with spaces", " <LocationConstraint>\n eu \n</LocationConstraint>\n", Ok(Some("eu")));
        check("unknown", "<X><Y/></X>", Ok(None));
        check("another kind", "<Bucket><Type>Directory</Type></Bucket>", Err(Code::NotImplemented));
        check("tags", "<Tags/>", Err(Code::NotImplemented));
        check("nested", "<LocationConstraint><a/></LocationConstraint>", Err(Code::MalformedXML));
        assert_eq!(read(b"<Delete/>").map_err(|error| error.code()), Err(Code::MalformedXML));
        assert_eq!(read(b"").map_err(|error| error.code()), Err(Code::MalformedXML));
    }
}

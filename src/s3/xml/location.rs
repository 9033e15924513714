//! Where a bucket is: the answer of GetBucketLocation and the configuration of CreateBucket.
//! `us-east-1` is written as nothing, because that is what AWS answers for it.
//! Whether a constraint fits this server's region is the operation's to decide.
//! Source: Amazon S3 API reference, GetBucketLocation and CreateBucket.

use crate::s3::error::{Code, S3Error};
use crate::s3::xml::reader::{Document, SIZE_BYTES_MAX, malformed};
use crate::s3::xml::writer::Writer;

/// The answer of GetBucketLocation.
pub fn write(region: &str) -> String {
    let mut xml = Writer::document();
    xml.root_text("LocationConstraint", if region == "us-east-1" { "" } else { region });
    xml.finish()
}

/// The location constraint of a CreateBucket request; an empty body or element is none.
///
/// Errors: MalformedXML; MaxMessageLengthExceeded; NotImplemented naming what else the configuration asks for.
pub fn read_create_bucket(bytes: &[u8]) -> Result<Option<String>, S3Error> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut document = Document::open(bytes, SIZE_BYTES_MAX, "CreateBucketConfiguration")?;
    let mut constraint = None;
    while let Some(name) = document.child()? {
        match name {
            "LocationConstraint" if constraint.is_some() => {
                return Err(malformed("there are two constraints"));
            }
            "LocationConstraint" => constraint = Some(document.word()?),
            "Location" | "Bucket" | "Tags" => {
                let message = format!("The element {name} of CreateBucketConfiguration is not implemented.");
                return Err(S3Error::new(Code::NotImplemented).with_message(message));
            }
            _ => return Err(malformed("the configuration has an element that S3 does not know")),
        }
    }
    document.finish()?;
    Ok(constraint.filter(|constraint| !constraint.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::xml::writer::tests::check_document;

    #[test]
    fn answers() {
        let root = "<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
        check_document(&write("eu-west-1"), &format!("{root}eu-west-1</LocationConstraint>"));
        check_document(&write("us-east-1"), &format!("{root}</LocationConstraint>"));
    }

    fn check(text: &str, want: Result<Option<&str>, Code>) {
        let got = read_create_bucket(text.as_bytes());
        assert_eq!(got.as_ref().map(Option::as_deref).map_err(|error| error.code()), want, "{text}");
    }

    #[test]
    fn configurations() {
        check("", Ok(None));
        check("<CreateBucketConfiguration/>", Ok(None));
        check(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <LocationConstraint> eu-west-1\n</LocationConstraint></CreateBucketConfiguration>",
            Ok(Some("eu-west-1")),
        );
        check("<CreateBucketConfiguration><LocationConstraint/></CreateBucketConfiguration>", Ok(None));
        check("<CreateBucketConfiguration><Tags/></CreateBucketConfiguration>", Err(Code::NotImplemented));
        check("<CreateBucketConfiguration><Other/></CreateBucketConfiguration>", Err(Code::MalformedXML));
        check("<Other/>", Err(Code::MalformedXML));
        check(" ", Err(Code::MalformedXML));
    }
}

//! The owner of a bucket or an object, and the initiator of an upload: an id and a name to show.
//! It stands inside other shapes, under the element name that each of them gives it.
//! Source: Amazon S3 API reference, types Owner and Initiator.

use crate::s3::xml::writer::Writer;

/// Who owns.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The canonical user id: 64 hex digits.
    pub id: &'a str,
    /// The name to show.
    pub display_name: &'a str,
}

impl Owner<'_> {
    /// Writes `<element>` with `ID` and `DisplayName`.
    pub fn write(&self, element: &str, xml: &mut Writer) {
        xml.open(element);
        xml.text("ID", self.id);
        xml.text("DisplayName", self.display_name);
        xml.close(element);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner() {
        let mut xml = Writer::document();
        Owner { id: "75aa", display_name: "a&b" }.write("Initiator", &mut xml);
        let want = "<Initiator><ID>75aa</ID><DisplayName>a&amp;b</DisplayName></Initiator>";
        assert!(xml.finish().ends_with(want));
    }
}

//! Writes XML documents as text: the declaration, elements without mixed content, escaped values.
//! It cannot produce a character that XML 1.0 does not allow: such characters become U+FFFD, because one of them
//! makes a client reject the whole document. Keys that need them travel with `encoding-type=url` instead.
//! It does not check that elements nest; each shape has a golden test for that.
//! Source: XML 1.0 (fifth edition) 2.2 and 2.4.

use crate::http::date::Civil;
use crate::http::percent::{self, Slash};
use crate::s3::error::{Code, S3Error};
use crate::s3::names::shortened;
use crate::s3::query::Query;

/// The namespace of every S3 document but the error.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// How keys stand in a listing: the parameter `encoding-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEncoding {
    /// As they are.
    Plain,
    /// Percent-encoded, so that keys survive which XML cannot carry.
    Url,
}

impl KeyEncoding {
    /// Reads the parameter; absent or empty is `Plain`.
    ///
    /// Errors: InvalidArgument for every value but `url`.
    pub fn of(query: &Query) -> Result<KeyEncoding, S3Error> {
        match query.value_not_empty("encoding-type") {
            None => Ok(KeyEncoding::Plain),
            Some(value) if value.eq_ignore_ascii_case("url") => Ok(KeyEncoding::Url),
            Some(value) => Err(S3Error::new(Code::InvalidArgument)
                .with_message("Invalid Encoding Method specified in Request")
                .with_element("ArgumentName", "encoding-type")
                .with_element("ArgumentValue", shortened(value))),
        }
    }
}

/// Whom a bucket, an object or an upload belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner<'a> {
    /// The canonical id: 64 hex digits.
    pub id: &'a str,
    /// The name.
    pub display_name: &'a str,
}

/// A document that is being written.
pub struct Writer {
    text: String,
}

impl Writer {
    /// Starts a document with its XML declaration, as AWS sends it: on a line of its own.
    pub fn document() -> Writer {
        Writer::with_capacity(512)
    }

    /// The same, with room for a body whose size the caller can estimate, such as a page of a thousand keys.
    pub fn with_capacity(size_bytes: usize) -> Writer {
        let mut text = String::with_capacity(size_bytes);
        text.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        Writer { text }
    }

    /// `<name>`
    pub fn open(&mut self, name: &str) {
        self.text.push('<');
        self.text.push_str(name);
        self.text.push('>');
    }

    /// `<name xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`, for roots.
    pub fn open_root(&mut self, name: &str) {
        self.text.push('<');
        self.text.push_str(name);
        self.text.push_str(" xmlns=\"");
        self.text.push_str(NAMESPACE);
        self.text.push_str("\">");
    }

    /// `</name>`
    pub fn close(&mut self, name: &str) {
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push('>');
    }

    /// `<name>value</name>`; an empty value is `<name></name>`, which every client reads as an empty string.
    pub fn text(&mut self, name: &str, value: &str) {
        self.open(name);
        escape_into(value, &mut self.text);
        self.close(name);
    }

    /// A root element that holds text and no elements.
    pub fn root_text(&mut self, name: &str, value: &str) {
        self.open_root(name);
        escape_into(value, &mut self.text);
        self.close(name);
    }

    /// The element only when there is a value.
    pub fn text_if(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// `<name>n</name>`
    pub fn number(&mut self, name: &str, value: u64) {
        self.open(name);
        let mut digits = [0u8; 20];
        self.text.push_str(decimal(value, &mut digits));
        self.close(name);
    }

    /// `<name>2009-10-12T17:50:30.000Z</name>`: whole seconds, in the form AWS writes.
    pub fn time(&mut self, name: &str, unix_s: i64) {
        let civil = Civil::of_unix(unix_s);
        let ((year, month, day), (hour, minute, second)) = (civil.date(), civil.time());
        let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z");
        self.text(name, &text);
    }

    /// A key, prefix or delimiter: as it stands, or percent-encoded where the client asked for it.
    pub fn key(&mut self, name: &str, value: &str, encoding: KeyEncoding) {
        match encoding {
            KeyEncoding::Plain => self.text(name, value),
            KeyEncoding::Url => {
                self.open(name);
                // What the encoding leaves needs no escaping.
                percent::encode_into(value.as_bytes(), Slash::Keep, &mut self.text);
                self.close(name);
            }
        }
    }

    /// `<Owner>`, `<Initiator>`: a canonical id and a name.
    pub fn owner(&mut self, name: &str, owner: &Owner<'_>) {
        self.open(name);
        self.text("ID", owner.id);
        self.text("DisplayName", owner.display_name);
        self.close(name);
    }

    /// `<name>true</name>` or `<name>false</name>`
    pub fn truth(&mut self, name: &str, value: bool) {
        self.text(name, if value { "true" } else { "false" });
    }

    /// The finished document.
    pub fn finish(self) -> String {
        self.text
    }
}

/// Escapes one value for element content.
/// `>` is escaped too, so that `]]>` can never appear; `\r` is a reference because a parser turns a bare one into `\n`.
fn escape_into(value: &str, out: &mut String) {
    let mut rest = value;
    while let Some(at) = rest.find(needs_escape) {
        let (plain, from) = rest.split_at(at);
        out.push_str(plain);
        let mut characters = from.chars();
        match characters.next() {
            Some('&') => out.push_str("&amp;"),
            Some('<') => out.push_str("&lt;"),
            Some('>') => out.push_str("&gt;"),
            Some('"') => out.push_str("&quot;"),
            Some('\r') => out.push_str("&#13;"),
            Some(_) => out.push(char::REPLACEMENT_CHARACTER),
            None => break,
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
}

fn needs_escape(character: char) -> bool {
    matches!(character, '&' | '<' | '>' | '"' | '\r') || !is_xml_char(character)
}

/// Whether XML 1.0 can carry the character; surrogates are no `char` anyway.
/// Source: XML 1.0, production 2, Char.
pub fn is_xml_char(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => true,
        '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => false,
        _ => true,
    }
}

fn decimal(mut value: u64, digits: &mut [u8; 20]) -> &str {
    let mut used: usize = 0;
    for slot in digits.iter_mut().rev() {
        // A remainder of ten is below 256.
        *slot = b'0'.wrapping_add((value % 10) as u8);
        used = used.saturating_add(1);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    let start = digits.len().saturating_sub(used);
    digits.get(start..).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or("0")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Compares a whole document with the text after its declaration.
    pub(in crate::s3::xml) fn check_document(document: &str, want: &str) {
        assert_eq!(document, format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{want}"));
    }

    fn check(value: &str, want: &str) {
        let mut out = String::new();
        escape_into(value, &mut out);
        assert_eq!(out, want, "{value:?}");
    }

    #[test]
    fn values_are_escaped() {
        let cases = [
            ("", ""),
            ("plain/key.txt", "plain/key.txt"),
            ("a&b<c>d\"e'f", "a&amp;b&lt;c&gt;d&quot;e'f"),
            ("]]>", "]]&gt;"),
            ("line\nline\ttab\rreturn", "line\nline\ttab&#13;return"),
            ("nul\0 bell\u{7} fffe\u{fffe}", "nul\u{fffd} bell\u{fffd} fffe\u{fffd}"),
            ("grün 🦀 \u{85}\u{7f}", "grün 🦀 \u{85}\u{7f}"),
        ];
        for (value, want) in cases {
            check(value, want);
        }
    }

    #[test]
    fn every_character_that_is_written_is_an_xml_character() {
        let every: String = ('\0'..=char::MAX).collect();
        let mut out = String::new();
        escape_into(&every, &mut out);
        assert!(out.chars().all(is_xml_char));
    }

    #[test]
    fn numbers() {
        for value in [0, 1, 9, 10, 4096, u64::MAX] {
            let mut digits = [0; 20];
            assert_eq!(decimal(value, &mut digits), value.to_string());
        }
    }

    #[test]
    fn encodings() {
        let cases = [
            ("", Ok(KeyEncoding::Plain)),
            ("encoding-type=", Ok(KeyEncoding::Plain)),
            ("encoding-type=url", Ok(KeyEncoding::Url)),
            ("encoding-type=base64", Err(Code::InvalidArgument)),
        ];
        for (raw, want) in cases {
            let got = KeyEncoding::of(&Query::parse(raw).unwrap());
            assert_eq!(got.map_err(|error| error.code()), want, "{raw}");
        }
    }

    #[test]
    fn a_document() {
        let mut xml = Writer::document();
        xml.open_root("Root");
        xml.text("Name", "a&b");
        xml.text("Empty", "");
        xml.text_if("Absent", None);
        xml.number("Size", 17);
        xml.time("At", 1_255_369_830);
        xml.time("Before", -1);
        xml.key("Plain", "a b&c", KeyEncoding::Plain);
        xml.key("Url", "a b/&\u{1}", KeyEncoding::Url);
        xml.owner("Owner", &Owner { id: "75aa", display_name: "me" });
        xml.close("Root");
        assert_eq!(
            xml.finish(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <Root xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>a&amp;b</Name><Empty></Empty><Size>17</Size>\
             <At>2009-10-12T17:50:30.000Z</At><Before>1969-12-31T23:59:59.000Z</Before><Plain>a b&amp;c</Plain>\
             <Url>a%20b/%26%01</Url><Owner><ID>75aa</ID><DisplayName>me</DisplayName></Owner></Root>"
        );
    }
}

//! Reads request documents element by element, with a bound on everything a sender chooses.
//! UTF-8 only; no document type, no processing instruction, no entity beyond the five of XML: so no expansion and no
//! outside resource exists. Prefixes and namespaces are overlooked: clients get them wrong, and no two shapes differ
//! by them. Each shape's own file says which elements it takes.
//! Source: XML 1.0 (fifth edition); the limits are ours.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};

use crate::s3::error::{Code, S3Error};
use crate::s3::xml::writer::is_xml_char;

/// Longest request document but for the two below. Units: bytes.
pub const SIZE_BYTES_MAX: usize = 1024 * 1024;
/// Longest DeleteObjects document: 1,000 keys of 1,024 bytes with their escapes.
pub const DELETE_OBJECTS_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Longest CompleteMultipartUpload document: boto3 sends 1.66 MB for 10,000 parts with SHA-256.
pub const COMPLETE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Deepest nesting; the shapes read today need 3.
const DEPTH_MAX: usize = 20;
/// Most attributes of an element; namespace declarations are the only ones that clients send.
const ATTRIBUTES_MAX: usize = 16;
/// Most namespace declarations of a document.
const NAMESPACES_MAX: usize = 4;
/// Most elements of a document: 10,000 parts with a tag, a number and every checksum AWS knows are 110,000.
const ELEMENTS_MAX: usize = 120_000;

/// A document that is being read. Dropped before `finish`, it says nothing about what it has not read.
// INVARIANT: `depth` is the number of elements entered and not yet left.
pub struct Document<'x> {
    reader: Reader<&'x [u8]>,
    depth: usize,
    element_count: usize,
    namespace_count: usize,
    name: String,
}

/// What the reader meets next, once the harmless is passed over.
enum Piece<'x> {
    Start,
    End,
    Text(Cow<'x, str>),
    Eof,
}

impl<'x> Document<'x> {
    /// Enters the root element, which must have this name.
    ///
    /// Errors: MaxMessageLengthExceeded beyond `size_bytes_max`; MalformedXML.
    pub fn open(bytes: &'x [u8], size_bytes_max: usize, root: &str) -> Result<Document<'x>, S3Error> {
        if bytes.len() > size_bytes_max {
            return Err(S3Error::new(Code::MaxMessageLengthExceeded)
                .with_element("MaxMessageLengthBytes", size_bytes_max.to_string()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8"))?;
        let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.check_comments = true;
        let (depth, element_count, namespace_count) = (0, 0, 0);
        let mut document = Document { reader, depth, element_count, namespace_count, name: String::new() };
        match document.child()? {
            Some(name) if name == root => Ok(document),
            Some(_) | None => Err(malformed("its root element is another")),
        }
    }

    /// Enters the next child of the current element and names it, without its prefix; none leaves the current element.
    ///
    /// Errors: MalformedXML, also for text between the children.
    pub fn child(&mut self) -> Result<Option<&str>, S3Error> {
        loop {
            match self.piece()? {
                Piece::Start => break,
                Piece::End => return Ok(None),
                Piece::Text(text) if is_space(&text) => {}
                Piece::Text(_) => return Err(malformed("there is text where elements are expected")),
                Piece::Eof => return Err(malformed("it ends early")),
            }
        }
        Ok(Some(&self.name))
    }

    /// The text of the current element, exactly, and leaves it.
    ///
    /// Errors: MalformedXML when there is an element inside.
    pub fn text(&mut self) -> Result<String, S3Error> {
        let mut whole = String::new();
        loop {
            match self.piece()? {
                Piece::Text(text) => whole.push_str(&text),
                Piece::End => return Ok(whole),
                Piece::Start => return Err(malformed("there is an element where text is expected")),
                Piece::Eof => return Err(malformed("it ends early")),
            }
        }
    }

    /// The text of the current element without white space around it, for everything but keys.
    pub fn word(&mut self) -> Result<String, S3Error> {
        let text = self.text()?;
        let word = text.trim();
        Ok(if word.len() == text.len() { text } else { word.to_string() })
    }

    /// Leaves the current element with all that is in it.
    pub fn skip(&mut self) -> Result<(), S3Error> {
        let outside = self.depth.saturating_sub(1);
        while self.depth > outside {
            if let Piece::Eof = self.piece()? {
                return Err(malformed("it ends early"));
            }
        }
        Ok(())
    }

    /// Ends the document: after its root there is white space at most.
    pub fn finish(mut self) -> Result<(), S3Error> {
        if self.depth > 0 {
            return Err(malformed("it ends early"));
        }
        loop {
            match self.piece()? {
                Piece::Eof => return Ok(()),
                Piece::Text(text) if is_space(&text) => {}
                Piece::Text(_) | Piece::Start | Piece::End => {
                    return Err(malformed("something follows its root element"));
                }
            }
        }
    }

    fn piece(&mut self) -> Result<Piece<'x>, S3Error> {
        loop {
            let at_start = self.reader.buffer_position() == 0;
            match self.reader.read_event().map_err(|error| malformed(&error.to_string()))? {
                Event::Start(start) | Event::Empty(start) => {
                    self.enter(&start)?;
                    return Ok(Piece::Start);
                }
                Event::End(_) => {
                    // The reader itself refuses an end without its start.
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(Piece::End);
                }
                Event::Text(text) => return piece_of(text.into_inner(), LineEnds::Normalised),
                Event::CData(text) => return piece_of(text.into_inner(), LineEnds::Normalised),
                Event::GeneralRef(reference) => return piece_of(resolve(&reference)?, LineEnds::Kept),
                Event::Comment(_) => {}
                Event::Decl(declaration) if at_start => check_declaration(&declaration)?,
                Event::Decl(_) => return Err(malformed("its declaration is not at its start")),
                Event::PI(_) => return Err(malformed("it has a processing instruction")),
                Event::DocType(_) => return Err(malformed("it has a document type")),
                Event::Eof => return Ok(Piece::Eof),
            }
        }
    }

    fn enter(&mut self, start: &BytesStart<'_>) -> Result<(), S3Error> {
        self.depth = self.depth.saturating_add(1);
        self.element_count = self.element_count.saturating_add(1);
        if self.depth > DEPTH_MAX || self.element_count > ELEMENTS_MAX {
            return Err(malformed("it has too many elements"));
        }
        // Unchecked here means: without the search for duplicates, which is quadratic before the count is known.
        let mut attributes = start.attributes();
        for (index, attribute) in attributes.with_checks(false).enumerate() {
            let attribute = attribute.map_err(|error| malformed(&error.to_string()))?;
            if index >= ATTRIBUTES_MAX {
                return Err(malformed("an element has too many attributes"));
            }
            if attribute.key.as_namespace_binding().is_some() {
                self.namespace_count = self.namespace_count.saturating_add(1);
            }
        }
        if self.namespace_count > NAMESPACES_MAX {
            return Err(malformed("it declares too many namespaces"));
        }
        let name = start.name();
        let local = name.local_name();
        self.name.clear();
        self.name.push_str(local.as_ref());
        Ok(())
    }
}

/// Whether line ends are still to be made `\n`: in text they are, a character reference means what it says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnds {
    Normalised,
    Kept,
}

fn piece_of(text: Cow<'_, str>, line_ends: LineEnds) -> Result<Piece<'_>, S3Error> {
    if !text.chars().all(is_xml_char) {
        return Err(malformed("it holds a character that XML does not allow"));
    }
    if line_ends == LineEnds::Normalised && text.contains('\r') {
        return Ok(Piece::Text(Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))));
    }
    Ok(Piece::Text(text))
}

fn resolve<'x>(reference: &BytesRef<'_>) -> Result<Cow<'x, str>, S3Error> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => return Ok(Cow::Owned(character.to_string())),
        Ok(None) => {}
        Err(error) => return Err(malformed(&error.to_string())),
    }
    match resolve_xml_entity(reference) {
        Some(text) => Ok(Cow::Borrowed(text)),
        None => Err(malformed("it refers to an entity")),
    }
}

fn check_declaration(declaration: &BytesDecl<'_>) -> Result<(), S3Error> {
    let version = declaration.version().map_err(|error| malformed(&error.to_string()))?;
    if version != "1.0" {
        return Err(malformed("its XML version is not 1.0"));
    }
    match declaration.encoding().transpose().map_err(|error| malformed(&error.to_string()))? {
        Some(encoding) if !encoding.eq_ignore_ascii_case("utf-8") => {
            Err(malformed("its encoding is not UTF-8"))
        }
        Some(_) | None => Ok(()),
    }
}

fn is_space(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// MalformedXML with its reason, which may quote the parser.
pub(super) fn malformed(reason: &str) -> S3Error {
    S3Error::new(Code::MalformedXML).with_source(reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads any document of root `r`: the names and texts of its children, or the code.
    fn read(text: &[u8]) -> Result<String, S3Error> {
        let mut document = Document::open(text, SIZE_BYTES_MAX, "r")?;
        let mut seen = String::new();
        while let Some(name) = document.child()? {
            let name = name.to_string();
            if name == "skip" {
                document.skip()?;
            } else {
                seen.push_str(&format!("{name}={};", document.text()?));
            }
        }
        document.finish()?;
        Ok(seen)
    }

    fn check(text: &str, want: Result<&str, Code>) {
        let got = read(text.as_bytes());
        assert_eq!(got.as_deref().map_err(|error| error.code()), want, "{text:.200}");
    }

    #[test]
    fn documents() {
        let cases = [
            ("<r/>", ""),
            ("<r></r>\n", ""),
            ("\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<r/>", ""),
            ("<?xml version='1.0'?><!-- c --><r/><!-- c -->", ""),
            ("<r xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><a>x</a></r>", "a=x;"),
            ("<p:r xmlns:p='n'><p:a p:b='c'>x</p:a></p:r>", "a=x;"),
            ("<r> <a> x\ty </a>\n<b/></r>", "a= x\ty ;b=;"),
            ("<r><a>1&amp;2&lt;3&gt;4&quot;5&apos;6</a></r>", "a=1&2<3>4\"5'6;"),
            ("<r><a>&#x41;&#66;&#13;&#xA;</a></r>", "a=AB\r\n;"),
            ("<r><a>1\r\n2\r3<![CDATA[<&amp;]]>4<!-- c -->5</a></r>", "a=1\n2\n3<&amp;45;"),
            ("<r><skip><x>y</x>z<skip/></skip><a>ä🦀</a></r>", "a=ä🦀;"),
        ];
        for (text, want) in cases {
            check(text, Ok(want));
        }
    }

    #[test]
    fn what_is_no_document_of_ours() {
        let cases = [
            "",
            " ",
            "x",
            "<r>",
            "<r><a></r>",
            "<r></a>",
            "<r/>x",
            "<r/><r/>",
            "<q/>",
            "<r>text</r>",
            "<r><a><b/></a></r>",
            "<r><skip>",
            "<r><a>x",
            "<r a=>",
            "<r a></r>",
            "</r>",
            "<r/></r>",
            "x<r/>",
            "&amp;<r/>",
            "<!DOCTYPE r><r/>",
            "<r><!DOCTYPE r></r>",
            "<?php x?><r/>",
            "<r><?x y?></r>",
            " <?xml version='1.0'?><r/>",
            "<?xml version='1.1'?><r/>",
            "<?xml version='1.0' encoding='UTF-16'?><r/>",
            "<?xml encoding='UTF-8'?><r/>",
            "<r><a>&nbsp;</a></r>",
            "<r><a>& </a></r>",
            "<r><a>&amp</a></r>",
            "<r><a>&#0;</a></r>",
            "<r><a>&#x1;</a></r>",
            "<r><a>&#xD800;</a></r>",
            "<r><a>&#x110000;</a></r>",
            "<r><a>\u{1}</a></r>",
            "<r><a>\u{fffe}</a></r>",
        ];
        for text in cases {
            check(text, Err(Code::MalformedXML));
        }
        assert_eq!(read(b"<r><a>\xff</a></r>").unwrap_err().code(), Code::MalformedXML);
    }

    #[test]
    fn bombs() {
        let entities =
            "<!DOCTYPE r [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]><r><a>&b;</a></r>";
        check(entities, Err(Code::MalformedXML));
        check("<!DOCTYPE r SYSTEM 'file:///etc/passwd'><r/>", Err(Code::MalformedXML));
        let nested = |depth: usize| format!("<r>{}{}</r>", "<skip>".repeat(depth), "</skip>".repeat(depth));
        check(&nested(DEPTH_MAX - 1), Ok(""));
        check(&nested(DEPTH_MAX), Err(Code::MalformedXML));
        let attributes = |count: usize| {
            let list: Vec<String> = (0..count).map(|n| format!("a{n}='v'")).collect();
            format!("<r {}/>", list.join(" "))
        };
        check(&attributes(ATTRIBUTES_MAX), Ok(""));
        check(&attributes(ATTRIBUTES_MAX + 1), Err(Code::MalformedXML));
        check("<r xmlns='1' xmlns:b='2' xmlns:c='3'><a xmlns:d='4'/></r>", Ok("a=;"));
        check(
            "<r xmlns='1' xmlns:b='2' xmlns:c='3'><a xmlns:d='4'/><a xmlns='5'/></r>",
            Err(Code::MalformedXML),
        );
        let many = |count: usize| format!("<r><skip>{}</skip></r>", "<x/>".repeat(count));
        check(&many(ELEMENTS_MAX - 2), Ok(""));
        check(&many(ELEMENTS_MAX - 1), Err(Code::MalformedXML));
        check(&format!("<r>{}</r>", " ".repeat(SIZE_BYTES_MAX)), Err(Code::MaxMessageLengthExceeded));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn any_markup_ends_in_an_answer(text in "(<r>)?([<>&;/!?a'\"=#x1 \\[\\]-]|<a>|</a>|<skip|<!--|-->|<!\\[CDATA\\[|\\]\\]>|&amp;|&#x){0,40}(</r>)?") {
            let _ = read(text.as_bytes());
        }

        #[test]
        fn what_the_writer_escapes_is_read_back(value in "[ -~\t\n\r\u{80}-\u{d7ff}\u{10000}-\u{10ffff}]{0,40}") {
            let mut xml = crate::s3::xml::writer::Writer::document();
            xml.open_root("r");
            xml.text("a", &value);
            xml.close("r");
            prop_assert_eq!(read(xml.finish().as_bytes()).unwrap(), format!("a={value};"));
        }
    }
}

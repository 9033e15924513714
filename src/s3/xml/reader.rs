//! Reads XML documents of requests, with a bound on everything: depth, elements, attributes, namespace declarations.
//! A document type is refused, so no entity can be declared: references are the five of XML and characters by number.
//! Namespaces are not resolved: an element is known by its local name, since clients disagree about the rest.
//! It does not bound the bytes of a document; whoever received them has. What an element means is its shape's file.
//! Source: XML 1.0 (fifth edition); Amazon S3 API reference, error MalformedXML.

use std::borrow::Cow;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};

use crate::s3::error::{Code, S3Error};
use crate::s3::xml::writer::is_xml_char;

/// Deepest nesting. No shape of S3 comes near it; it bounds the parser's own stack of open names.
pub const DEPTH_MAX: usize = 20;
/// Most elements of one document: 10,000 parts of four each is the largest that S3 defines, with some to spare.
pub const ELEMENTS_MAX: usize = 45_000;
/// Most pieces of one document: tags, texts, references, comments and attributes. An element with a text, indented, is
/// five; without this bound four megabytes of comments hold a core longer than any document of a client.
pub const PIECES_MAX: usize = 5 * ELEMENTS_MAX;
/// Most attributes of one element, namespace declarations included.
pub const ATTRIBUTES_MAX: usize = 16;
/// Most namespace declarations of one element.
pub const NAMESPACES_MAX: usize = 4;

/// A document that is being read from its first byte to its last.
///
/// Shape: `next_child` enters the next child of the element that is open, or leaves that element; whoever has entered
/// one reads it as `text`, walks its children in turn, or calls `skip`. The document is whole, and was checked to its
/// last byte, when `next_child` has left the root.
pub struct Reader<'x> {
    events: quick_xml::Reader<&'x [u8]>,
    // The start tag that was entered last.
    entered: Option<BytesStart<'x>>,
    depth: usize,
    elements: usize,
    pieces: usize,
}

impl<'x> Reader<'x> {
    /// Begins a document and enters its root element.
    ///
    /// Errors: MalformedXML, also for another root than the one that is wanted and for what is no UTF-8.
    pub fn document(bytes: &'x [u8], root: &str) -> Result<Reader<'x>, S3Error> {
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("no UTF-8"))?;
        if !text.chars().all(is_xml_char) {
            return Err(malformed("a character that XML does not allow"));
        }
        let mut events = quick_xml::Reader::from_str(text);
        let config = events.config_mut();
        config.enable_all_checks(true);
        // An empty element then looks like one without content, so that no shape has to know both.
        config.expand_empty_elements = true;
        let mut reader = Reader { events, entered: None, depth: 0, elements: 0, pieces: 0 };
        reader.find_root(root)?;
        Ok(reader)
    }

    fn find_root(&mut self, root: &str) -> Result<(), S3Error> {
        let mut is_first = true;
        loop {
            match self.event()? {
                Event::Decl(declaration) if is_first => check_declaration(&declaration)?,
                Event::Comment(_) | Event::PI(_) => {}
                Event::Text(text) if is_space(&text) => {}
                Event::Start(start) => {
                    self.enter(start)?;
                    if self.entered_name() != root {
                        return Err(malformed("another root element than the one of this request"));
                    }
                    return Ok(());
                }
                _ => return Err(malformed("no root element")),
            }
            is_first = false;
        }
    }

    /// Enters the next child element and returns its local name, or leaves the open element and returns none.
    ///
    /// Errors: MalformedXML, also for text between elements.
    pub fn next_child(&mut self) -> Result<Option<&str>, S3Error> {
        loop {
            match self.event()? {
                Event::Comment(_) | Event::PI(_) => {}
                Event::Text(text) if is_space(&text) => {}
                Event::Start(start) => {
                    self.enter(start)?;
                    return Ok(Some(self.entered_name()));
                }
                Event::End(_) => {
                    self.leave()?;
                    return Ok(None);
                }
                _ => return Err(malformed("text where elements belong")),
            }
        }
    }

    /// Reads the element that was just entered as text, references replaced, and leaves it.
    ///
    /// Shape: exactly what was sent, spaces included, line ends as `\n`; borrowed unless something was replaced.
    /// Errors: MalformedXML, also when elements are in it.
    pub fn text(&mut self) -> Result<Cow<'x, str>, S3Error> {
        let mut value = Cow::Borrowed("");
        loop {
            match self.event()? {
                Event::Comment(_) | Event::PI(_) => {}
                Event::Text(text) if !text.contains("]]>") => append(&mut value, text.xml10_content()),
                Event::CData(text) => append(&mut value, text.xml10_content()),
                Event::GeneralRef(reference) => value.to_mut().push(referred(&reference)?),
                Event::End(_) => {
                    self.leave()?;
                    return Ok(value);
                }
                _ => return Err(malformed("elements where text belongs")),
            }
        }
    }

    /// Leaves the element that was just entered, whatever is in it, as S3 does with elements that it does not know.
    ///
    /// Errors: MalformedXML.
    pub fn skip(&mut self) -> Result<(), S3Error> {
        let outside = self.depth.saturating_sub(1);
        while self.depth > outside {
            match self.event()? {
                Event::Comment(_) | Event::PI(_) | Event::CData(_) => {}
                Event::Text(text) if !text.contains("]]>") => {}
                Event::GeneralRef(reference) => {
                    referred(&reference)?;
                }
                Event::Start(start) => self.enter(start)?,
                Event::End(_) => self.leave()?,
                _ => return Err(malformed("markup that does not belong into an element")),
            }
        }
        Ok(())
    }

    fn event(&mut self) -> Result<Event<'x>, S3Error> {
        self.count(1)?;
        self.events.read_event().map_err(|error| malformed(&error.to_string()))
    }

    fn count(&mut self, pieces: usize) -> Result<(), S3Error> {
        self.pieces = self.pieces.saturating_add(pieces);
        if self.pieces > PIECES_MAX { Err(malformed("too many pieces")) } else { Ok(()) }
    }

    fn entered_name(&self) -> &str {
        self.entered.as_ref().map_or("", |start| local_name(start.name().into_inner()))
    }

    fn enter(&mut self, start: BytesStart<'x>) -> Result<(), S3Error> {
        self.depth = self.depth.saturating_add(1);
        self.elements = self.elements.saturating_add(1);
        if self.depth > DEPTH_MAX || self.elements > ELEMENTS_MAX {
            return Err(malformed("too many elements, or too deep ones"));
        }
        let attributes = check_start(&start)?;
        self.count(attributes)?;
        self.entered = Some(start);
        Ok(())
    }

    fn leave(&mut self) -> Result<(), S3Error> {
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 { self.check_tail() } else { Ok(()) }
    }

    /// Behind the root nothing may follow but what says nothing.
    fn check_tail(&mut self) -> Result<(), S3Error> {
        loop {
            match self.event()? {
                Event::Comment(_) | Event::PI(_) => {}
                Event::Text(text) if is_space(&text) => {}
                Event::Eof => return Ok(()),
                _ => return Err(malformed("something follows the root element")),
            }
        }
    }
}

/// The error of a document that is not what its operation wants; `why` is for the log.
///
/// Errors: the result is MalformedXML.
pub fn malformed(why: &str) -> S3Error {
    S3Error::new(Code::MalformedXML).with_source(why)
}

fn check_declaration(declaration: &BytesDecl<'_>) -> Result<(), S3Error> {
    let version = declaration.version().map_err(|error| malformed(&error.to_string()))?;
    let is_utf8 = match declaration.encoding() {
        None => true,
        Some(Ok(encoding)) => encoding.eq_ignore_ascii_case("utf-8"),
        Some(Err(_)) => false,
    };
    if version != "1.0" || !is_utf8 {
        return Err(malformed("another version than 1.0 or another encoding than UTF-8"));
    }
    Ok(())
}

/// Checks a start tag and returns how many attributes it has.
fn check_start(start: &BytesStart<'_>) -> Result<usize, S3Error> {
    if !is_name(start.name().into_inner()) {
        return Err(malformed("a name that is none"));
    }
    let (mut attributes, mut namespaces) = (0usize, 0usize);
    for attribute in start.attributes() {
        attributes = attributes.saturating_add(1);
        if attributes > ATTRIBUTES_MAX {
            return Err(malformed("too many attributes"));
        }
        let attribute = attribute.map_err(|error| malformed(&error.to_string()))?;
        let name = attribute.key.into_inner();
        if name == "xmlns" || name.starts_with("xmlns:") {
            namespaces = namespaces.saturating_add(1);
        }
        let legal = is_name(name)
            && !attribute.value.contains('<')
            && (!attribute.value.contains('&')
                || attribute.normalized_value(XmlVersion::Implicit1_0).is_ok());
        if !legal {
            return Err(malformed("an attribute that is none"));
        }
    }
    if namespaces > NAMESPACES_MAX {
        return Err(malformed("too many namespace declarations"));
    }
    Ok(attributes)
}

/// The character of a reference.
fn referred(reference: &BytesRef<'_>) -> Result<char, S3Error> {
    let character = match reference.resolve_char_ref() {
        Ok(Some(character)) => Some(character),
        Ok(None) => match &**reference {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => None,
        },
        Err(_) => None,
    };
    character
        .filter(|character| is_xml_char(*character))
        .ok_or_else(|| malformed("a reference to nothing that XML has"))
}

fn append<'x>(value: &mut Cow<'x, str>, more: Cow<'x, str>) {
    if value.is_empty() {
        *value = more;
    } else {
        value.to_mut().push_str(&more);
    }
}

fn local_name(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, local)| local)
}

fn is_space(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Whether a text can be a name, as strictly as is needed to refuse what no XML writer produces.
fn is_name(name: &str) -> bool {
    let starts = |c: char| c.is_alphabetic() || c == '_';
    let continues = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '\u{b7}');
    let is_part = |part: &str| part.starts_with(starts) && part.chars().all(continues);
    match name.split_once(':') {
        Some((prefix, local)) => is_part(prefix) && is_part(local),
        None => is_part(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads `<R>` with children `<T>` read as text, `<N>` walked as `<R>` is, and all others skipped.
    fn read(document: &[u8]) -> Result<Vec<String>, S3Error> {
        let mut reader = Reader::document(document, "R")?;
        let mut texts = Vec::new();
        let mut open = 1;
        while open > 0 {
            match reader.next_child()? {
                Some("T") => texts.push(reader.text()?.into_owned()),
                Some("N") => open += 1,
                Some(_) => reader.skip()?,
                None => open -= 1,
            }
        }
        Ok(texts)
    }

    fn check(name: &str, document: &[u8], want: Option<&[&str]>) {
        match (read(document), want) {
            (Ok(texts), Some(want)) => assert_eq!(texts, want, "{name}"),
            (Err(error), None) => assert_eq!(error.code(), Code::MalformedXML, "{name}"),
            (got, want) => panic!("{name}: {got:?} and not {want:?}"),
        }
    }

    #[test]
    fn documents() {
        let rows: [(&str, &str, &[&str]); 14] = [
            ("nothing in it", "<R/>", &[]),
            ("texts", "<R><T>a</T><T> b\n</T></R>", &["a", " b\n"]),
            ("empty texts", "<R><T/><T></T><T><!--c--></T></R>", &["", "", ""]),
            ("nested", "<R><N><T>a</T><N/></N><T>b</T></R>", &["a", "b"]),
            ("unknown elements", "<R><X>t<Y z='1'>&amp;<T>no</T></Y></X><T>a</T></R>", &["a"]),
            ("white space and comments", " <!-- a --><R>\r\n\t<!-- b --> <T>a</T> </R> <!-- c -->\n", &["a"]),
            (
                "declaration",
                "<?xml version=\"1.0\" encoding='utf-8' standalone='yes'?>\n<R><T>a</T></R>",
                &["a"],
            ),
            ("byte order mark", "\u{feff}<?xml version=\"1.0\"?><R><T>a</T></R>", &["a"]),
            ("namespaces", "<s:R xmlns:s=\"http://x/&amp;\" xmlns=''><s:T>a</s:T></s:R>", &["a"]),
            (
                "references",
                "<R><T>&lt;&amp;&gt;&quot;&apos;&#65;&#x1F980;&#13;</T></R>",
                &["<&>\"'A\u{1f980}\r"],
            ),
            ("text around references", "<R><T>a&amp;b&amp;</T></R>", &["a&b&"]),
            ("CDATA", "<R><T>a<![CDATA[<&amp;]]>b</T></R>", &["a<&amp;b"]),
            ("line ends", "<R><T>a\r\nb\rc</T></R>", &["a\nb\nc"]),
            ("processing instructions", "<R><?p q?><T>a<?p?>b</T></R>", &["ab"]),
        ];
        for (name, document, want) in rows {
            check(name, document.as_bytes(), Some(want));
        }
    }

    #[test]
    fn what_is_no_document() {
        let rows: [(&str, &[u8]); 36] = [
            ("nothing", b""),
            ("no element", b"  <!-- -->"),
            ("text", b"R"),
            ("another root", b"<S/>"),
            ("the root in another case", b"<r/>"),
            ("not closed", b"<R>"),
            ("child not closed", b"<R><T>a</R>"),
            ("crossed", b"<R><N><T></N></T></R>"),
            ("only closed", b"</R>"),
            ("closed twice", b"<R/></R>"),
            ("two roots", b"<R/><R/>"),
            ("text behind the root", b"<R/>a"),
            ("CDATA behind the root", b"<R/><![CDATA[ ]]>"),
            ("text before the root", b"a<R/>"),
            ("text between elements", b"<R>a<T/></R>"),
            ("a reference between elements", b"<R>&#32;<T/></R>"),
            ("an element in a text", b"<R><T>a<T/></T></R>"),
            ("cut in a tag", b"<R><T"),
            ("cut in a reference", b"<R><T>&am</T></R>"),
            ("a bare ampersand", b"<R><T>a & b</T></R>"),
            ("an unknown entity", b"<R><T>&nbsp;</T></R>"),
            ("an unknown entity in what is skipped", b"<R><X>&nbsp;</X></R>"),
            ("an unknown entity in an attribute", b"<R a='&nbsp;'/>"),
            ("a reference to NUL", b"<R><T>&#0;</T></R>"),
            ("a reference to no XML character", b"<R><T>&#x1;</T></R>"),
            ("a reference to a surrogate", b"<R><T>&#xD800;</T></R>"),
            ("NUL", b"<R><T>\0</T></R>"),
            ("no UTF-8", b"<R><T>\xff</T></R>"),
            ("UTF-16", b"\xff\xfe<\0R\0/\0>\0"),
            ("another encoding", b"<?xml version='1.0' encoding='ISO-8859-1'?><R/>"),
            ("another version", b"<?xml version='1.1'?><R/>"),
            ("a late declaration", b" <?xml version='1.0'?><R/>"),
            ("the end of CDATA alone", b"<R><T>]]></T></R>"),
            ("an attribute twice", b"<R a='1' a='2'/>"),
            ("an attribute without quotes", b"<R a=1/>"),
            ("a name that is none", b"<R>< /></R>"),
        ];
        for (name, document) in rows {
            check(name, document, None);
        }
    }

    #[test]
    fn bombs() {
        let lol = "<!DOCTYPE R [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;\">]><R><T>&b;</T></R>";
        check("billion laughs", lol.as_bytes(), None);
        check("external entity", b"<!DOCTYPE R SYSTEM \"file:///etc/passwd\"><R/>", None);
        check("a type behind the root", b"<R/><!DOCTYPE R>", None);
        let nested = |depth: usize| format!("<R>{}{}</R>", "<N>".repeat(depth), "</N>".repeat(depth));
        check("as deep as may be", nested(DEPTH_MAX - 1).as_bytes(), Some(&[]));
        check("too deep", nested(DEPTH_MAX).as_bytes(), None);
        check("too deep where it is skipped", nested(100_000).replace('N', "X").as_bytes(), None);
        let many = |count: usize| format!("<R>{}</R>", "<X/>".repeat(count));
        check("as many as may be", many(ELEMENTS_MAX - 1).as_bytes(), Some(&[]));
        check("too many", many(ELEMENTS_MAX).as_bytes(), None);
        let nothings = |nothing: &str| format!("<R><T>{}</T></R>", nothing.repeat(250_000));
        check("too many comments", nothings("<!---->").as_bytes(), None);
        check("too many references", nothings("&lt;").as_bytes(), None);
        check("too many instructions", nothings("<?p?>").as_bytes(), None);
        let dressed = format!("<X {}/>", (0..16).map(|n| format!("a{n}='' ")).collect::<String>());
        check("too many attributes of all", format!("<R>{}</R>", dressed.repeat(15_000)).as_bytes(), None);
        let attributes = |name: &str, count: usize| -> String {
            format!("<R {}/>", (0..count).map(|n| format!("{name}{n}='' ")).collect::<String>())
        };
        check("attributes", attributes("a", ATTRIBUTES_MAX).as_bytes(), Some(&[]));
        check("too many attributes", attributes("a", ATTRIBUTES_MAX + 1).as_bytes(), None);
        check("namespaces", attributes("xmlns:a", NAMESPACES_MAX).as_bytes(), Some(&[]));
        check("too many namespaces", attributes("xmlns:a", NAMESPACES_MAX + 1).as_bytes(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn no_markup_makes_it_panic(text in "(<R>)?([<>/&;!?\\[\\]\"'= RTN#x-]|<T>|</T>|<!--|-->|<!\\[CDATA\\[|&#|&amp;|<\\?xml){0,40}") {
            let _ = read(text.as_bytes());
        }

        #[test]
        fn what_is_written_is_read(values in proptest::collection::vec(any::<String>(), 0..4)) {
            let mut xml = crate::s3::xml::writer::Writer::document();
            xml.open_root("R");
            values.iter().for_each(|value| xml.text("T", value));
            xml.close("R");
            let legal = |c: char| if is_xml_char(c) { c } else { char::REPLACEMENT_CHARACTER };
            let want: Vec<String> = values.iter().map(|value| value.chars().map(legal).collect()).collect();
            prop_assert_eq!(read(xml.finish().as_bytes()).unwrap(), want);
        }
    }
}

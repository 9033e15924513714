//! Enough of Rust's lexer for the rules: literals and comments blanked, words, functions with their lines.
//! It knows nested comments, raw strings and the difference between a lifetime and a character.
//! It is no parser: a macro's tokens are read as code, and const blocks in types are not understood.
//! Source: the Rust Reference, chapter "Tokens".

/// Replaces comments, strings and characters by spaces; line breaks stay, so lines and columns keep their numbers.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = token_end(bytes, at);
        if is_blanked(bytes, at) {
            let hidden = out[at..end].iter_mut().filter(|b| **b != b'\n');
            hidden.for_each(|b| *b = b' ');
        }
        at = end;
    }
    String::from_utf8(out).expect("whole characters are blanked byte by byte")
}

/// A function's name, the line of its `fn` and the line of its closing brace, both counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub first_line: usize,
    pub last_line: usize,
}

/// Every function with a body, nested ones too, in the order of their `fn`.
pub fn functions(code: &str) -> Vec<Function> {
    let words = words(code);
    let is_fn = |index: &usize| words[*index].text == "fn";
    let named = (0..words.len().saturating_sub(1)).filter(is_fn).filter_map(|index| {
        let (keyword, name) = (&words[index], &words[index + 1]);
        // `fn(u8) -> u8` is a type: its next word does not follow at once.
        let between = &code[keyword.offset + keyword.text.len()..name.offset];
        if !between.trim().is_empty() {
            return None;
        }
        let close = body_end(code, name.offset)?;
        let (first_line, last_line) = (line_of(code, keyword.offset), line_of(code, close));
        Some(Function { name: name.text.to_string(), first_line, last_line })
    });
    named.collect()
}

/// One identifier or keyword and where it begins.
#[derive(Debug)]
pub struct Word<'a> {
    pub text: &'a str,
    pub offset: usize,
}

/// The identifiers and keywords of blanked code; numbers are none.
pub fn words(code: &str) -> Vec<Word<'_>> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = if is_word(bytes[at]) { word_end(bytes, at) } else { at + 1 };
        if is_word(bytes[at]) && !bytes[at].is_ascii_digit() {
            found.push(Word { text: &code[at..end], offset: at });
        }
        at = end;
    }
    found
}

/// The line, counted from 1, that holds the byte.
pub fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset].iter().filter(|b| **b == b'\n').count() + 1
}

/// The byte after the brace, bracket or parenthesis that closes the one at `open`.
pub fn group_end(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (offset, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(offset + 1);
        }
    }
    None
}

/// The closing brace of the body whose signature goes on at `from`; none for a declaration that ends in `;`.
fn body_end(code: &str, from: usize) -> Option<usize> {
    let bytes = code.as_bytes();
    let mut at = from;
    loop {
        match bytes.get(at)? {
            b'{' => return group_end(code, at).map(|end| end - 1),
            b';' => return None,
            // `[u8; 4]` and the parameters hold what would end the search.
            b'(' | b'[' => at = group_end(code, at)?,
            _ => at += 1,
        }
    }
}

fn is_blanked(bytes: &[u8], at: usize) -> bool {
    let end = token_end(bytes, at);
    let ends_quoted = end - at > 1 && matches!(bytes[end - 1], b'"' | b'\'' | b'#');
    bytes[at..].starts_with(b"//") || bytes[at..].starts_with(b"/*") || ends_quoted
}

/// The end of the token at `at`, as far as blanking cares: literals and comments whole, words whole, else one byte.
fn token_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    match rest[0] {
        b'/' if rest.starts_with(b"//") => at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
        b'/' if rest.starts_with(b"/*") => block_comment_end(bytes, at),
        b'"' => quoted_end(bytes, at),
        b'\'' => character_end(bytes, at),
        first if is_word(first) => {
            let end = word_end(bytes, at);
            match (&bytes[at..end], bytes.get(end)) {
                (b"b" | b"c", Some(b'"')) => quoted_end(bytes, end),
                (b"b", Some(b'\'')) => character_end(bytes, end),
                (b"r" | b"br" | b"cr", Some(b'"' | b'#')) => raw_end(bytes, end).unwrap_or(end),
                _ => end,
            }
        }
        _ => at + 1,
    }
}

fn word_end(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().position(|b| !is_word(*b)).unwrap_or(bytes.len() - at)
}

/// Bytes beyond ASCII count as letters: they only occur in comments and literals here.
fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut at) = (0usize, at);
    while at < bytes.len() {
        let step = match &bytes[at..] {
            [b'/', b'*', ..] => 1,
            [b'*', b'/', ..] => -1,
            _ => 0,
        };
        depth = depth.saturating_add_signed(step);
        at += if step == 0 { 1 } else { 2 };
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

/// The end of the string whose opening quote is at `at`; a backslash hides the next byte.
fn quoted_end(bytes: &[u8], at: usize) -> usize {
    let quote = bytes[at];
    let mut at = at + 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// The end of a character, or the byte after the quote of a lifetime.
fn character_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at + 1..];
    if rest.first() == Some(&b'\\') {
        return quoted_end(bytes, at);
    }
    let is_continuation = |b: &&u8| **b & 0b1100_0000 == 0b1000_0000;
    let width = 1 + rest.iter().skip(1).take_while(is_continuation).count();
    if rest.get(width) == Some(&b'\'') { at + width + 2 } else { at + 1 }
}

/// The end of the raw string whose hashes or quote begin at `at`; none for a raw identifier.
fn raw_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at..].iter().take_while(|b| **b == b'#').count();
    if bytes.get(at + hashes) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = at + hashes + 1;
    let length = bytes[body..].windows(close.len()).position(|window| window == close);
    Some(length.map_or(bytes.len(), |length| body + length + close.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_blank(name: &str, input: &str, want: &str) {
        assert_eq!(blank(input), want, "{name}");
        assert_eq!(blank(input).lines().count(), input.lines().count(), "{name}: lines are kept");
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        let rows = [
            ("line comment", "a // { \"\nb", "a       \nb"),
            ("nested comment", "a /* { /* } */ { */ b", "a                   b"),
            ("open comment", "a /* b", "a     "),
            ("string", "a(\"{\") b", "a(   ) b"),
            ("escaped quote", r#"a("\"{") b"#, "a(     ) b"),
            ("escaped backslash", r#"a("\\") b"#, "a(    ) b"),
            ("comment in a string", "a(\"//\") { }", "a(    ) { }"),
            ("byte string", "a(b\"{\")", "a(    )"),
            ("raw string", "a(r\"\\\") {", "a(    ) {"),
            ("raw string with hashes", "a(r#\"\"{\"#) b", "a(       ) b"),
            ("raw byte string", "a(br##\"\"#{\"##) b", "a(           ) b"),
            ("raw identifier", "r#fn { }", "r#fn { }"),
            ("character", "a('{') b", "a(   ) b"),
            ("quote character", r"a('\'') {", "a(    ) {"),
            ("byte character", "a(b'}') b", "a(    ) b"),
            ("character beyond ASCII", "a('é') {", "a(    ) {"),
            ("lifetime", "fn a<'a>(b: &'a str) {", "fn a<'a>(b: &'a str) {"),
            ("static lifetime before a string", "&'static str = \"{\"", "&'static str =    "),
            ("string over two lines", "a(\"{\n{\") b", "a(  \n  ) b"),
        ];
        rows.into_iter().for_each(|(name, input, want)| check_blank(name, input, want));
    }

    fn check_functions(name: &str, input: &str, want: &[(&str, usize, usize)]) {
        let found = functions(&blank(input));
        let found: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.first_line, f.last_line)).collect();
        assert_eq!(found, want, "{name}");
    }

    #[test]
    fn functions_are_measured_from_fn_to_the_closing_brace() {
        type Row = (&'static str, &'static str, &'static [(&'static str, usize, usize)]);
        let rows: [Row; 8] = [
            ("one line", "fn a() {}", &[("a", 1, 1)]),
            ("where and result", "\npub fn a<T>(b: T) -> [u8; 4]\nwhere\n T: Copy,\n{\n}\n", &[("a", 2, 6)]),
            ("braces in literals", "fn a() {\n b(\"}\", '}');\n // }\n}\n", &[("a", 1, 4)]),
            ("declaration", "trait A {\n fn a(&self) -> [u8; 2];\n fn b() {\n }\n}", &[("b", 3, 4)]),
            ("function type", "struct A(fn(u8) -> u8);\nfn b(c: fn() -> u8) {\n}", &[("b", 2, 3)]),
            ("nested", "fn a() {\n fn b() {\n }\n}", &[("a", 1, 4), ("b", 2, 3)]),
            ("closure in a default", "fn a() { let b = |c: u8| { c };\n}", &[("a", 1, 2)]),
            ("unclosed", "fn a() {", &[]),
        ];
        rows.into_iter().for_each(|(name, input, want)| check_functions(name, input, want));
    }

    #[test]
    fn words_leave_out_numbers_and_keep_offsets() {
        let found: Vec<_> = words("let a_1 = 0x2f + b;").iter().map(|w| (w.text, w.offset)).collect();
        assert_eq!(found, [("let", 0), ("a_1", 4), ("b", 17)]);
    }
}

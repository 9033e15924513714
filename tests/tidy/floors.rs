//! The floors of src: a lower floor never names a higher one, and auth, iam and fs never name each other.
//! A name is `crate::FLOOR`, a group `crate::{FLOOR, ..}` or as many `super` as lead to the crate's top.
//! Names in comments and strings do not count. `src/lib.rs` and `src/main.rs` stand above all floors.
//! Source: ARCHITECTURE.md, the floors.

use crate::scanner::{Word, group_end, line_of, words};
use crate::tree::{Finding, SourceFile};

/// The folders of src and how high they stand.
const FLOORS: [(&str, u8); 10] = [
    ("http", 1),
    ("s3", 2),
    ("digest", 2),
    ("auth", 3),
    ("iam", 3),
    ("fs", 3),
    ("ops", 4),
    ("server", 5),
    ("bench", 5),
    ("cli", 6),
];

/// Who is calling, what they may do and where bytes lie are decided apart: these meet in ops only.
const STRANGERS: [&str; 3] = ["auth", "iam", "fs"];

fn height(floor: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == floor).map(|(_, height)| *height)
}

fn lower_floors_name_no_higher_one(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let components = file.components();
        let &["src", floor, _, ..] = components.as_slice() else { continue };
        let Some(own_height) = height(floor) else {
            findings.push(Finding::new(
                file,
                0,
                format!("`src/{floor}` is no floor: name it in tests/tidy/floors.rs"),
            ));
            continue;
        };
        for (named, line) in named_floors(file) {
            let strangers = named != floor && STRANGERS.contains(&named) && STRANGERS.contains(&floor);
            if strangers || height(named).is_some_and(|named_height| own_height < named_height) {
                findings.push(Finding::new(file, line, format!("floor `{floor}` names floor `{named}`")));
            }
        }
    }
    findings
}

/// The floors that the file names by path, with the line of each.
fn named_floors(file: &SourceFile) -> Vec<(&str, usize)> {
    let code = file.code.as_str();
    let words = words(code);
    let is_door = file.path.ends_with("/mod.rs");
    let supers_to_top = file.components().len() - if is_door { 2 } else { 1 };
    let mut named = Vec::new();
    for index in 0..words.len() {
        let leads_to_top = match words[index].text {
            "crate" => true,
            "super" => supers_before(code, &words[..=index]) == supers_to_top,
            _ => false,
        };
        if leads_to_top {
            named.extend(first_segments(code, &words[index], &words[index + 1..]));
        }
    }
    named.retain(|(name, _)| height(name).is_some());
    named
}

/// How many `super` in a row end with the last word.
fn supers_before(code: &str, words: &[Word]) -> usize {
    let pairs = words.windows(2).rev();
    1 + pairs.take_while(|pair| pair[0].text == "super" && is_path(code, &pair[0], &pair[1])).count()
}

fn is_path(code: &str, first: &Word, second: &Word) -> bool {
    code[first.offset + first.text.len()..second.offset].trim() == "::"
}

/// What follows `crate::`: one name, or the first name of each member of a group.
fn first_segments<'a>(code: &'a str, top: &Word, following: &[Word<'a>]) -> Vec<(&'a str, usize)> {
    let after = top.offset + top.text.len();
    let Some(path) = code[after..].trim_start().strip_prefix("::") else { return Vec::new() };
    let open = code.len() - path.trim_start().len();
    let group = if code[open..].starts_with('{') { group_end(code, open) } else { None };
    let Some(end) = group else {
        let first = following.iter().take(1).filter(|word| word.offset == open);
        return first.map(|word| (word.text, line_of(code, word.offset))).collect();
    };
    let is_member_start = |word: &&Word| {
        let before = code[open..word.offset].trim_end();
        let depth = before.matches('{').count() - before.matches('}').count();
        depth == 1 && before.ends_with(['{', ',', '}'])
    };
    let members = following.iter().take_while(|word| word.offset < end).filter(is_member_start);
    members.map(|word| (word.text, line_of(code, word.offset))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{check_one, check_project};

    fn check(path: &str, text: &str, want_lines: &[usize]) {
        check_one(lower_floors_name_no_higher_one, path, text, want_lines);
    }

    #[test]
    fn floors_hold_in_the_project() {
        check_project(lower_floors_name_no_higher_one);
    }

    #[test]
    fn a_higher_floor_is_found_in_every_form() {
        check("src/http/head.rs", "use crate::s3::etag::ETag;", &[1]);
        check("src/http/head.rs", "\nfn a() -> crate::server::State {}", &[2]);
        check("src/http/head.rs", "use crate::{\n    http::date,\n    ops::{get, put},\n};", &[3]);
        check("src/http/head.rs", "use crate :: { s3 };", &[1]);
        check("src/http/head.rs", "use super::super::fs::path;", &[1]);
        check("src/http/mod.rs", "use super::fs::path;", &[1]);
        check("src/s3/xml/list.rs", "use super::super::super::fs::path;", &[1]);
        check("src/fs/list.rs", "use crate::auth::Caller;", &[1]);
        check("src/auth/sigv4.rs", "use crate::fs::bucket;\nuse crate::iam::policy;", &[1, 2]);
        check("src/nowhere/mod.rs", "", &[0]);
    }

    #[test]
    fn what_stands_lower_or_beside_is_allowed() {
        check("src/ops/put.rs", "use crate::{auth, fs, http::head, s3};", &[]);
        check("src/fs/list.rs", "use crate::fs::path;\nuse crate::s3::names;", &[]);
        check("src/http/head.rs", "use crate::{http::{ops, date}};", &[]);
        check("src/http/head.rs", "// crate::server\nlet a = \"crate::server\";", &[]);
        check("src/http/head.rs", "use super::fs;", &[]);
        check("src/lib.rs", "pub mod server;", &[]);
        check("tests/s3/main.rs", "use crate::server;", &[]);
    }
}

//! Words that name nothing: banned in file names, and in the names that Rust code declares.
//! Some are banned everywhere, some only where they name a file, a module or a type.
//! Names that others own keep their form: what is merely used from another crate is not looked at.
//! The words of a standard are kept as the standard has them: see `STANDARD_NAMES`.

use crate::scanner::{line_of, words};
use crate::tree::{Finding, SourceFile};

/// Banned as a word of any declared name and of any file or folder.
const BANNED: [&str; 8] = ["manager", "util", "utils", "helper", "helpers", "common", "misc", "processor"];

/// Banned besides where a file, a module or a type is named: fine for a local variable.
const BANNED_IN_TITLES: [&str; 5] = ["base", "data", "info", "impl", "v2"];

/// S3's own names, as a word and the one beside it.
const STANDARD_NAMES: [(&str, &str); 4] = [
    ("common", "prefix"),   // ListObjects: CommonPrefixes.
    ("common", "prefixes"), // ListObjects: CommonPrefixes.
    ("objects", "v2"),      // The operation ListObjectsV2.
    ("presigned", "v2"),    // Presigned queries of Signature Version 2, and the flag of that name.
];

/// Keywords that a declared name follows, and whether the name is a title.
const DECLARATIONS: [(&str, bool); 11] = [
    ("fn", false),
    ("let", false),
    ("mut", false),
    ("const", false),
    ("static", false),
    ("mod", true),
    ("struct", true),
    ("enum", true),
    ("union", true),
    ("trait", true),
    ("type", true),
];

fn names_say_what_they_name(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let banned_path = file.components().into_iter().find_map(|name| banned_word(name, true));
        findings
            .extend(banned_path.map(|word| Finding::new(file, 0, format!("`{word}` in the file's path"))));
        findings.extend(banned_declarations(file));
    }
    findings
}

fn banned_declarations(file: &SourceFile) -> Vec<Finding> {
    let words = words(&file.code);
    let pairs = words.windows(2);
    let found = pairs.filter_map(|pair| {
        let (_, is_title) = DECLARATIONS.iter().find(|(keyword, _)| *keyword == pair[0].text)?;
        let between = &file.code[pair[0].offset + pair[0].text.len()..pair[1].offset];
        let is_declared = !between.is_empty() && between.trim().is_empty();
        let word = banned_word(pair[1].text, *is_title).filter(|_| is_declared)?;
        let line = line_of(&file.code, pair[1].offset);
        Some(Finding::new(file, line, format!("`{}`: {word} names nothing", pair[1].text)))
    });
    found.collect()
}

fn banned_word(name: &str, is_title: bool) -> Option<String> {
    let parts = parts(name);
    let is_standard = |index: usize| {
        let beside = |a: Option<&String>, b: Option<&String>| {
            let (Some(a), Some(b)) = (a, b) else { return false };
            STANDARD_NAMES.contains(&(a.as_str(), b.as_str()))
        };
        beside(parts.get(index), parts.get(index + 1))
            || index.checked_sub(1).is_some_and(|before| beside(parts.get(before), parts.get(index)))
    };
    let is_banned = |word: &str| BANNED.contains(&word) || is_title && BANNED_IN_TITLES.contains(&word);
    let index = (0..parts.len()).find(|index| is_banned(&parts[*index]) && !is_standard(*index))?;
    Some(parts[index].clone())
}

/// `ListObjectsV2`, `list_objects_v2` and `list-objects-v2.rs` alike become `list`, `objects`, `v2`.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut previous = '_';
    for letter in name.chars() {
        let begins_word = letter.is_ascii_uppercase() && !previous.is_ascii_uppercase();
        if begins_word || !letter.is_ascii_alphanumeric() {
            parts.push(String::new());
        }
        if letter.is_ascii_alphanumeric() {
            parts.last_mut().expect("never empty").push(letter.to_ascii_lowercase());
        }
        previous = letter;
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{check_one, check_project};

    fn check(path: &str, text: &str, want_lines: &[usize]) {
        check_one(names_say_what_they_name, path, text, want_lines);
    }

    #[test]
    fn names_hold_in_the_project() {
        check_project(names_say_what_they_name);
    }

    #[test]
    fn words_that_name_nothing_are_found() {
        check("src/http/utils.rs", "", &[0]);
        check("src/helpers/mod.rs", "", &[0]);
        check("tests/clients/misc.py", "", &[0]);
        check("src/s3/base.rs", "", &[0]);
        check("src/s3/list_v2.rs", "", &[0]);
        check("src/s3/a.rs", "struct BucketManager;\nfn read_helper() {}", &[1, 2]);
        check("src/s3/a.rs", "enum ObjectInfo {}\ntype Data = ();\nmod v2 {}", &[1, 2, 3]);
        check("src/s3/a.rs", "fn a() { let common_head = 1; let mut util = 2; }", &[1, 1]);
    }

    #[test]
    fn standard_names_and_foreign_ones_are_allowed() {
        check("src/s3/xml/list_objects_v2.rs", "enum Operation { ListObjectsV2 }", &[]);
        check("src/s3/a.rs", "struct CommonPrefix;\nfn common_prefixes() {}", &[]);
        check("src/s3/a.rs", "use hyper_util::rt;\nimpl A for Metadata {}", &[]);
        check("src/s3/a.rs", "fn a() { let base = 1; let info = base64(data); }", &[]);
        check("src/s3/a.rs", "// struct Helper\nstruct PresignedV2;", &[]);
        check("src/fs/database.rs", "struct Basement;", &[]);
    }
}

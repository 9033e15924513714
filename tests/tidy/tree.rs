//! The files of the project as the rules see them, and the one way in which a rule reports.
//! The tree is walked rather than asked of git, so that a tarball and a clone owned by someone else are checked too.
//! What .gitignore names is left out; files that are not UTF-8 are no text and no rule reads them.

use std::fs;
use std::path::Path;

use crate::scanner;

/// One text file: its path from the top of the project with `/` between folders, and its text.
pub struct SourceFile {
    pub path: String,
    pub text: String,
    /// Rust files only: the text with comments and literals blanked, line by line as long as the original.
    pub code: String,
}

impl SourceFile {
    pub fn new(path: &str, text: &str) -> SourceFile {
        let code = if path.ends_with(".rs") { scanner::blank(text) } else { String::new() };
        SourceFile { path: path.to_string(), text: text.to_string(), code }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The folders and the file name.
    pub fn components(&self) -> Vec<&str> {
        self.path.split('/').collect()
    }
}

/// One broken rule at one place; line 0 stands for the file as a whole.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub path: String,
    pub line: usize,
    pub what: String,
}

impl Finding {
    pub fn new(file: &SourceFile, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: file.path.clone(), line, what: what.into() }
    }
}

/// Folders that .gitignore names, by path from the top or, for the last four, by name anywhere.
const SKIPPED_PATHS: [&str; 4] = [".git", "target", "data", "benches/baselines/target"];
const SKIPPED_NAMES: [&str; 4] = [".venv", "__pycache__", ".pytest_cache", "target"];

/// Runs a rule over the whole project and fails with every finding, one a line.
pub fn check_project(rule: fn(&[SourceFile]) -> Vec<Finding>) {
    let files = project();
    assert!(files.len() > 5, "the walk found {} files: it starts in the wrong folder", files.len());
    let mut findings = rule(&files);
    findings.sort();
    let lines: Vec<String> = findings.iter().map(|f| format!("{}:{}: {}", f.path, f.line, f.what)).collect();
    assert!(findings.is_empty(), "{} places:\n{}\n", lines.len(), lines.join("\n"));
}

/// Tries a rule on one small file: the findings as `line: what`.
pub fn check_one(rule: fn(&[SourceFile]) -> Vec<Finding>, path: &str, text: &str, want_lines: &[usize]) {
    let mut findings = rule(&[SourceFile::new(path, text)]);
    findings.sort();
    let lines: Vec<usize> = findings.iter().map(|f| f.line).collect();
    assert_eq!(lines, want_lines, "{path}:\n{text}\nfound: {findings:?}");
}

fn project() -> Vec<SourceFile> {
    let mut files = Vec::new();
    walk(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut files);
    files
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<SourceFile>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        let Ok(kind) = entry.file_type() else { continue };
        if SKIPPED_PATHS.contains(&path.as_str()) || SKIPPED_NAMES.contains(&name.as_str()) {
            continue;
        }
        if kind.is_dir() {
            walk(&entry.path(), &format!("{path}/"), files);
        } else if let Ok(text) = fs::read_to_string(entry.path())
            && kind.is_file()
        {
            files.push(SourceFile::new(&path, &text));
        }
    }
}

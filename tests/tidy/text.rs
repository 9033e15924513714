//! What no text of the project holds: unfinished work without an issue, blanks at line ends, traces of one machine.
//! The words that are looked for are put together here, so that this file passes its own rules.
//! Cargo.lock is cargo's own and names the registry as cargo does everywhere.

use crate::tree::{Finding, SourceFile};

/// Folders of people's homes; a path into one is true on one machine only.
const HOME_FOLDERS: [&str; 3] = ["root", "home", "Users"];

/// Hosts of package registries, name and rest: a lock file or a mirror setting that slipped into a text.
const REGISTRY_HOSTS: [(&str, &str); 9] = [
    ("crates", "io-index"),
    ("index.crates", "io"),
    ("static.crates", "io"),
    ("pypi", "org"),
    ("files.pythonhosted", "org"),
    ("proxy.golang", "org"),
    ("registry.npmjs", "org"),
    ("deb.debian", "org"),
    ("repo.maven.apache", "org"),
];

fn unfinished_work_has_an_issue(files: &[SourceFile]) -> Vec<Finding> {
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat()];
    each_line(files, |line| {
        let mark = marks.iter().find(|mark| has_word(line, mark))?;
        let has_issue = line.split('#').skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        (!has_issue).then(|| format!("{mark} without an issue's number"))
    })
}

fn lines_end_where_their_text_ends(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = each_line(files, |line| {
        line.ends_with(|c: char| c.is_whitespace()).then(|| "blanks at the end of the line".to_string())
    });
    let unended = files.iter().filter(|file| !file.text.is_empty() && !file.text.ends_with('\n'));
    findings.extend(unended.map(|file| Finding::new(file, 0, "no line break at the end of the file")));
    findings
}

fn no_text_names_one_machine(files: &[SourceFile]) -> Vec<Finding> {
    let mut paths: Vec<String> = HOME_FOLDERS.iter().map(|name| format!("/{name}/")).collect();
    paths.extend(clone_folders(env!("CARGO_MANIFEST_DIR")));
    let hosts: Vec<String> = REGISTRY_HOSTS.iter().map(|(name, rest)| format!("{name}.{rest}")).collect();
    let written: Vec<&SourceFile> = files.iter().filter(|file| !file.path.ends_with("Cargo.lock")).collect();
    let mut findings = Vec::new();
    for file in written {
        findings.extend(each_line(std::slice::from_ref(file), |line| {
            let path = paths.iter().find(|path| begins_path(line, path));
            let host = hosts.iter().find(|host| line.contains(host.as_str()));
            path.or(host).map(|found| format!("names `{found}`"))
        }));
    }
    findings
}

/// The folder of this clone and the one it lies in, unless that is the top or shared by every machine.
fn clone_folders(manifest_folder: &str) -> Vec<String> {
    let above = manifest_folder.rsplit_once('/').map_or("", |(above, _)| above);
    let own = [manifest_folder, above]
        .into_iter()
        .filter(|folder| !["", "/tmp", "/srv", "/opt", "/mnt"].contains(folder));
    own.map(|folder| format!("{folder}/")).collect()
}

/// Whether an absolute path that begins so is in the line: not the middle of a longer one.
fn begins_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(offset, _)| {
        let before = line[..offset].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-/*}$".contains(c))
    })
}

fn has_word(line: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.split(|c| !is_word(c)).any(|found| found == word)
}

fn each_line(files: &[SourceFile], rule: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let lines = file.text.split('\n').enumerate();
        findings.extend(lines.filter_map(|(index, line)| Some(Finding::new(file, index + 1, rule(line)?))));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{check_one, check_project};

    #[test]
    fn unfinished_work_holds_in_the_project() {
        check_project(unfinished_work_has_an_issue);
    }

    #[test]
    fn line_ends_hold_in_the_project() {
        check_project(lines_end_where_their_text_ends);
    }

    #[test]
    fn machine_traces_hold_in_the_project() {
        check_project(no_text_names_one_machine);
    }

    #[test]
    fn unfinished_work_is_found_in_any_text() {
        let mark = ["TO", "DO"].concat();
        let text = format!("// {mark}: later\n// {mark}(#12): later\nlet {mark}_COUNT = 1;\n");
        check_one(unfinished_work_has_an_issue, "src/a.rs", &text, &[1]);
        check_one(unfinished_work_has_an_issue, "README.md", &format!("x {mark}\n"), &[1]);
    }

    #[test]
    fn blanks_at_line_ends_are_found() {
        check_one(lines_end_where_their_text_ends, "a.md", "a \nb\t\nc\r\nd\n", &[1, 2, 3]);
        check_one(lines_end_where_their_text_ends, "a.md", "a", &[0]);
        check_one(lines_end_where_their_text_ends, "a.md", "", &[]);
    }

    #[test]
    fn traces_of_a_machine_are_found() {
        let home = format!("/{}/x", HOME_FOLDERS[1]);
        let clone = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let host = format!("https://{}.{}/x", REGISTRY_HOSTS[3].0, REGISTRY_HOSTS[3].1);
        check_one(
            no_text_names_one_machine,
            "a.md",
            &format!("see {home}\n(`{clone}`)\n{host}\n"),
            &[1, 2, 3],
        );
        check_one(no_text_names_one_machine, "a.md", &format!("bucket{home} ./{home}\n"), &[]);
        check_one(no_text_names_one_machine, "Cargo.lock", &host, &[]);
        assert_eq!(clone_folders("/a/b"), ["/a/b/", "/a/"]);
        assert_eq!(clone_folders("/tmp/b"), ["/tmp/b/"]);
    }
}

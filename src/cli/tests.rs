//! The command line as a whole: layers, defaults, messages, exit codes.
//! Every test gives its own environment; no test changes the process's.
//! Files are real ones.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::auth::authenticate::RegionRule;
use crate::server::config::{Config, Origin};
use crate::server::root_key::RootKey;
use crate::server::setting::{Cores, Durability, Switch};
use crate::server::state_dir::StateDir;

fn words(line: &[&str]) -> Vec<OsString> {
    ["ringway"].iter().chain(line).map(OsString::from).collect()
}

fn config_of(line: &[&str], environment: &[(&str, &str)]) -> Result<Config, Failure> {
    let variables: HashMap<_, _> = environment.iter().copied().collect();
    match parse(&words(line), &|name| variables.get(name).map(OsString::from))? {
        Command::Serve(args) => args.config(),
        other => panic!("{other:?} is not serve"),
    }
}

#[track_caller]
fn check(line: &[&str], environment: &[(&str, &str)], change: impl FnOnce(&mut Config)) {
    let mut want = Config::new(PathBuf::from("/srv"));
    change(&mut want);
    assert_eq!(config_of(line, environment).expect("legal"), want);
}

#[track_caller]
fn check_refused(line: &[&str], environment: &[(&str, &str)], parts: &[&str]) {
    let failure = config_of(line, environment).expect_err("refused");
    assert_eq!(failure.code(), 2, "{failure:?}");
    let text = match &failure {
        Failure::Clap(error) => sentence(error),
        Failure::Usage(text) | Failure::Failed(text) => text.clone(),
    };
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

fn file(dir: &Path, text: &str) -> String {
    let path = dir.join("ringway.toml");
    fs::write(&path, text).expect("write");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn clap_finds_no_fault() {
    command().debug_assert();
}

#[test]
fn flags() {
    check(&["serve", "/srv"], &[], |_| ());
    check(&["serve", "/srv/.", "--listen=0.0.0.0:80", "--listen", "[::]:81"], &[], |config| {
        config.listen = ["0.0.0.0:80", "[::]:81"].map(|text| text.parse().expect("an address")).to_vec();
    });
    check(&["serve", "/srv", "--strict-region", "--cores", "0,2"], &[], |config| {
        config.region_rule = RegionRule::Strict;
        config.cores = Cores::List(vec![0, 2]);
    });
    check(&["serve", "--idle-timeout=1m", "--arena-size=8MiB", "--", "/srv"], &[], |config| {
        config.limits.idle_timeout_ms = 60_000;
        config.limits.arena_bytes_per_core = 8 << 20;
    });
    check_refused(&["serve"], &[], &["ROOT is missing"]);
    check_refused(&["serve", "/srv", "--access", "posix"], &[], &["--access", "not built yet"]);
    check_refused(&["serve", "/srv", "--buckets", "registered"], &[], &["--buckets", "not built yet"]);
    check_refused(&["serve", "/srv", "--log", "ringway=loud"], &[], &["--log"]);
    check_refused(&["serve", "/srv", "--state-dir", "/srv/state"], &[], &["would be a bucket"]);
    check_refused(&["serve", "/srv", "--drain-deadline", "2h"], &[], &["--drain-deadline is 1s to 1h"]);
    check_refused(&["serve", "/srv", "--lissten", "x"], &[], &["--lissten"]);
}

#[test]
fn a_flag_beats_the_environment_and_the_environment_beats_the_file() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = file(dir.path(), "durability = 'none'\ncores = 3\nregion = 'file'\nroot = '/file'");
    let environment = [("RINGWAY_CORES", "4"), ("RINGWAY_REGION", "environment"), ("RINGWAY_CONFIG", &file)];
    check(&["serve", "/srv", "--region", "flag"], &environment, |config| {
        config.durability = Durability::None;
        config.cores = Cores::Count(4);
        config.region = "flag".parse().expect("a region");
    });
    // An empty variable is none: `RINGWAY_CORES= ringway serve` takes the file's.
    check(
        &["serve", "/srv", "--region=us-east-1"],
        &[("RINGWAY_CORES", ""), ("RINGWAY_CONFIG", &file)],
        |config| {
            config.durability = Durability::None;
            config.cores = Cores::Count(3);
        },
    );
}

#[test]
fn lists_switches_and_the_root_come_from_any_layer() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let listen =
        ["10.0.0.1:2", "10.0.0.1:1", "10.0.0.1:3"].map(|text| text.parse().expect("an address")).to_vec();
    let changed = |config: &mut Config| {
        config.listen = listen.clone();
        config.region_rule = RegionRule::Strict;
        config.access_log = Switch::Off;
        config.domains = vec!["s3.example.com".parse().expect("a domain")];
    };
    let environment = [
        ("RINGWAY_LISTEN", "10.0.0.1:2, 10.0.0.1:1,10.0.0.1:3"),
        ("RINGWAY_STRICT_REGION", "true"),
        ("RINGWAY_ACCESS_LOG", "off"),
        ("RINGWAY_DOMAIN", "s3.example.com"),
        ("RINGWAY_ROOT", "/srv"),
    ];
    check(&["serve"], &environment, changed);
    check(&["serve", "--"], &environment, changed);
    let text = "root = '/srv'\nlisten = ['10.0.0.1:2', '10.0.0.1:1', '10.0.0.1:3']\nstrict-region = true\naccess-log = false\n\
                domain = 's3.example.com'";
    check(&["serve", "--config", &file(dir.path(), text)], &[], changed);
    // A flag replaces the list of a lower layer, it does not add to it.
    check(&["serve", "/srv", "--listen", "127.0.0.1:9000"], &environment[..1], |_| ());
}

#[test]
fn a_wrong_layer_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    check_refused(&["serve", "/srv"], &[("RINGWAY_CORES", "x")], &["in the environment", "--cores"]);
    let refused = |text: &str, parts: &[&str]| {
        let file = file(dir.path(), text);
        check_refused(&["serve", "/srv", "--config", &file], &[], &[&[file.as_str()], parts].concat());
    };
    refused("lissten = 'x'", &["unknown key `lissten`", "listen"]);
    refused("config = 'x'", &["unknown key `config`"]);
    refused("help = true", &["unknown key `help`"]);
    refused("root-secret-key = 'x'", &["unknown key `root-secret-key`"]);
    refused("[serve]\ncores = 1", &["unknown key `serve`"]);
    refused("cores = 'x'", &["--cores", "expected auto"]);
    refused("file-mode = 0o640", &["`file-mode` is octal digits in quotes"]);
    refused("region = ['a', 'b']", &["`region` takes one value"]);
    refused("cores = 1.5", &["`cores` takes text, a whole number"]);
    refused("cores = ", &["line 1"]);
    check_refused(
        &["serve", "/srv", "--config", "/nowhere/x.toml"],
        &[],
        &["cannot read", "/nowhere/x.toml"],
    );
}

#[test]
fn the_help_tells_the_defaults_that_hold() {
    let command = command();
    let serve = command.find_subcommand("serve").expect("serve");
    let mut settings_count = 0;
    for arg in serve.get_arguments() {
        let Some(flag) = arg.get_long() else { continue };
        let help = arg.get_help().expect("every flag has a help").to_string();
        assert!(help.contains(&format!("[env: {}]", layers::variable(flag))), "{help}");
        if let Some((_, rest)) = help.split_once("[default: ") {
            let default = rest.split_once(']').expect("closed").0.replace("ROOT", "/srv");
            check(&["serve", "/srv", &format!("--{flag}={default}")], &[], |config| {
                if flag == "connections-max" {
                    config.limits.connections_origin = Origin::Operator;
                }
            });
            settings_count += 1;
        } else {
            assert!(["config", "domain"].contains(&flag), "--{flag} tells no default");
        }
    }
    assert_eq!(settings_count, 23);
}

#[test]
fn help_is_no_error() {
    for line in [&["--help"][..], &["serve", "--help"], &["root-key", "show", "--help"], &["--version"]] {
        let failure = parse(&words(line), &|_| None).expect_err("help");
        assert_eq!(failure.code(), 0, "{line:?}");
    }
    for line in [&[][..], &["root-key"], &["bench"]] {
        assert_eq!(parse(&words(line), &|_| None).expect_err("usage").code(), 2, "{line:?}");
    }
}

fn printed(line: &[&str], environment: &[(&str, &str)]) -> Result<String, Failure> {
    let variables: HashMap<_, _> = environment.iter().copied().collect();
    let mut out = Vec::new();
    run(&words(line), &|name| variables.get(name).map(OsString::from), &mut out)?;
    Ok(String::from_utf8(out).expect("text"))
}

#[test]
fn root_key_is_shown_and_reset_offline() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = dir.path().to_str().expect("UTF-8");
    let state_path = dir.path().join(".ringway");
    for command in ["show", "reset"] {
        let failure = printed(&["root-key", command, root], &[]).expect_err("nothing there yet");
        assert_eq!(failure.code(), 1);
        assert!(!state_path.exists(), "{command} makes no state directory");
        assert_eq!(printed(&["root-key", command], &[]).expect_err("where?").code(), 2);
    }
    let state = StateDir::open(&state_path).expect("a server");
    let key = RootKey::open(&state).expect("its key");
    let shown = printed(&["root-key", "show", root], &[]).expect("shown while a server runs");
    assert_eq!(shown, crate::server::banner::exports(&key));
    assert_eq!(printed(&["root-key", "show"], &[("RINGWAY_ROOT", root)]).expect("by variable"), shown);
    let file = file(dir.path(), &format!("root = '{root}'\ndurability = 'full'"));
    assert_eq!(printed(&["root-key", "show", "--config", &file], &[]).expect("by the server's file"), shown);
    match printed(&["root-key", "reset", root], &[]).expect_err("a server runs") {
        Failure::Failed(text) => assert!(text.contains("in use by process"), "{text}"),
        other => panic!("{other:?}"),
    }
    drop(state);
    let json =
        printed(&["root-key", "reset", "--json", "--state-dir", state_path.to_str().expect("UTF-8")], &[]);
    let json: serde_json::Value = serde_json::from_str(&json.expect("reset")).expect("one object");
    let stored = RootKey::read(&state_path).expect("readable").expect("stored");
    assert_ne!(stored.access_key_id(), key.access_key_id());
    assert_eq!(json["access_key_id"], stored.access_key_id());
    assert_eq!(json["secret_access_key"], stored.secret_access_key());
}

#[test]
fn a_server_that_cannot_start_says_why_with_the_right_code() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = dir.path().to_str().expect("UTF-8");
    let refused = |environment: &[(&str, &str)], code: u8, part: &str| {
        let failure = printed(&["serve", root], environment).expect_err("refused");
        assert_eq!(failure.code(), code, "{failure:?}");
        assert!(format!("{failure:?}").contains(part), "{failure:?}");
    };
    refused(&[("RINGWAY_ROOT_ACCESS_KEY", "root")], 2, "come together");
    refused(&[("RINGWAY_ROOT_ACCESS_KEY", "root"), ("RINGWAY_ROOT_SECRET_KEY", "short")], 2, "8 to 128");
    let _first = StateDir::open(&dir.path().join(".ringway")).expect("a server");
    refused(&[], 1, &format!("in use by process {}", std::process::id()));
}

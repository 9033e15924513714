//! Where a setting comes from: the flag, else the environment, else the file, else the default.
//! What the command line leaves open is filled in as if it had been typed, so that each setting has one name, one
//! parser and one error text. Nothing here knows what a setting means.
//! Source: the flags of `ringway serve`; `RINGWAY_<FLAG>`; TOML 1.1.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::{Table, Value};

use crate::cli::Failure;

/// How an environment variable is read; an argument, so that tests have their own.
pub type Environment<'process> = &'process dyn Fn(&str) -> Option<OsString>;

/// Names that are about the run and not about the server: no variable, no key of the file.
const NOT_SETTINGS: [&str; 3] = ["help", "version", "json"];

/// The variable of a flag: `--admin-listen` is RINGWAY_ADMIN_LISTEN.
pub fn variable(setting: &str) -> String {
    format!("RINGWAY_{}", setting.to_ascii_uppercase().replace('-', "_"))
}

/// Adds to each setting's help which variable it is.
pub fn with_variables_in_help(command: Command) -> Command {
    command.mut_args(|arg| {
        let Some(setting) = setting_name(&arg) else { return arg };
        let suffix = format!("[env: {}]", variable(&setting));
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let long = arg.get_long_help().map(ToString::to_string);
        let arg = arg.help(format!("{help} {suffix}"));
        match long {
            Some(long) => arg.long_help(format!("{long} {suffix}")),
            None => arg,
        }
    })
}

/// Parses `argv`, and fills in from the environment and from the file what it does not say.
/// Shape: `settings` is the command whose flags are the keys a file may have; a command that knows only some of them
/// passes over the others, so that one file serves `serve` and `root-key`.
/// Errors: Usage, with the layer that was wrong.
pub fn parse(
    command: &Command,
    settings: &Command,
    argv: &[OsString],
    environment: Environment<'_>,
) -> Result<ArgMatches, Failure> {
    let typed = command.clone().try_get_matches_from(argv).map_err(Failure::Clap)?;
    let mut argv = argv.to_vec();
    let leaf = leaf(command, &typed);
    for setting in missing(&leaf, &typed) {
        if let Some(value) = environment(&variable(&setting.name)).filter(|value| !value.is_empty()) {
            insert(&mut argv, leaf.depth, &setting, &split(&setting, &value));
        }
    }
    let merged = reparse(command, &argv, "in the environment")?;
    let Some(path) = config_path(&merged) else { return Ok(merged) };
    let file = read_file(Path::new(&path), settings)?;
    for setting in missing(&leaf, &merged) {
        if let Some(values) = file_values(&file, &setting, Path::new(&path))? {
            insert(&mut argv, leaf.depth, &setting, &values);
        }
    }
    reparse(command, &argv, &format!("in {}", Path::new(&path).display()))
}

/// The innermost subcommand that was typed.
struct Leaf<'command> {
    command: &'command Command,
    /// Words of the command line before its own arguments begin, the program's name included.
    depth: usize,
}

fn leaf<'command>(command: &'command Command, matches: &ArgMatches) -> Leaf<'command> {
    let (mut leaf, mut matches) = (Leaf { command, depth: 1 }, matches);
    while let Some((name, below)) = matches.subcommand() {
        let Some(command) = leaf.command.find_subcommand(name) else { break };
        leaf = Leaf { command, depth: leaf.depth + 1 };
        matches = below;
    }
    leaf
}

/// One setting that a layer may fill in.
struct Setting {
    name: String,
    place: Place,
    amount: Amount,
    /// Octal digits: a number of the file would lose them.
    octal: Octal,
}

enum Place {
    Flag,
    Positional,
}

enum Amount {
    One,
    Many,
}

#[derive(PartialEq, Eq)]
enum Octal {
    Yes,
    No,
}

/// The name that a setting has as flag and as key of the file; none when it is no setting.
fn setting_name(arg: &Arg) -> Option<String> {
    let name = arg.get_long().map_or_else(|| arg.get_id().to_string(), str::to_owned);
    (!NOT_SETTINGS.contains(&name.as_str())).then_some(name)
}

fn missing(leaf: &Leaf<'_>, matches: &ArgMatches) -> Vec<Setting> {
    let mut innermost = matches;
    while let Some((_, below)) = innermost.subcommand() {
        innermost = below;
    }
    let open = |arg: &&Arg| innermost.value_source(arg.get_id().as_str()) != Some(ValueSource::CommandLine);
    let setting = |arg: &Arg| {
        Some(Setting {
            name: setting_name(arg)?,
            place: if arg.is_positional() { Place::Positional } else { Place::Flag },
            amount: if matches!(arg.get_action(), ArgAction::Append) { Amount::Many } else { Amount::One },
            octal: if arg.get_value_names().is_some_and(|names| names == ["MODE"]) {
                Octal::Yes
            } else {
                Octal::No
            },
        })
    };
    leaf.command.get_arguments().filter(open).filter_map(setting).collect()
}

/// Values of a variable: a comma separates those of a flag that may be given more than once.
fn split(setting: &Setting, value: &OsStr) -> Vec<OsString> {
    match (&setting.amount, value.to_str()) {
        (Amount::Many, Some(text)) => text.split(',').map(|piece| piece.trim().into()).collect(),
        (Amount::One, _) | (Amount::Many, None) => vec![value.to_owned()],
    }
}

fn insert(argv: &mut Vec<OsString>, depth: usize, setting: &Setting, values: &[OsString]) {
    for value in values {
        match setting.place {
            Place::Flag => {
                let mut word = OsString::from(format!("--{}=", setting.name));
                word.push(value);
                // Right behind the command: behind a `--` it would be no flag any more.
                argv.insert(depth, word);
            }
            Place::Positional => {
                if !argv.iter().any(|word| word == "--") {
                    argv.push("--".into());
                }
                argv.push(value.clone());
            }
        }
    }
    // Inserted one before the other at the same place, they stand in reverse.
    if matches!(setting.place, Place::Flag) {
        argv[depth..depth + values.len()].reverse();
    }
}

fn reparse(command: &Command, argv: &[OsString], layer: &str) -> Result<ArgMatches, Failure> {
    command
        .clone()
        .try_get_matches_from(argv)
        .map_err(|error| Failure::Usage(format!("{layer}: {}", crate::cli::sentence(&error))))
}

fn config_path(matches: &ArgMatches) -> Option<OsString> {
    let (_, below) = matches.subcommand()?;
    match below.subcommand() {
        Some(_) => config_path(below),
        None => {
            below.try_get_one::<std::path::PathBuf>("config").ok().flatten().map(|path| path.clone().into())
        }
    }
}

/// Reads the file and refuses keys that are no setting.
fn read_file(path: &Path, settings: &Command) -> Result<Table, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("cannot read the configuration file {shown}: {error}")))?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        Failure::Usage(format!("in {shown}: {}", error.to_string().trim()))
    })?;
    // A file that names another file would have to say which of them wins.
    let names: Vec<String> =
        settings.get_arguments().filter_map(setting_name).filter(|name| name != "config").collect();
    match table.keys().find(|key| !names.contains(key)) {
        None => Ok(table),
        Some(key) => {
            Err(Failure::Usage(format!("in {shown}: unknown key `{key}`; the keys are {}", names.join(", "))))
        }
    }
}

fn file_values(file: &Table, setting: &Setting, path: &Path) -> Result<Option<Vec<OsString>>, Failure> {
    let Some(value) = file.get(&setting.name) else { return Ok(None) };
    let refuse = |what: &str| Failure::Usage(format!("in {}: `{}` {what}", path.display(), setting.name));
    let values = match (value, &setting.amount) {
        (Value::Array(values), Amount::Many) => values.as_slice(),
        (Value::Array(_), Amount::One) => return Err(refuse("takes one value, not a list")),
        (value, Amount::One | Amount::Many) => std::slice::from_ref(value),
    };
    let word = |value: &Value| match value {
        Value::String(text) => Ok(OsString::from(text)),
        Value::Integer(_) if setting.octal == Octal::Yes => {
            Err(refuse("is octal digits in quotes, such as \"0640\""))
        }
        Value::Integer(number) => Ok(OsString::from(number.to_string())),
        Value::Boolean(switch) => Ok(OsString::from(switch.to_string())),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            Err(refuse("takes text, a whole number, true or false"))
        }
    };
    values.iter().map(word).collect::<Result<_, _>>().map(Some)
}

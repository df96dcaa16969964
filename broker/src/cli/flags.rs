//! Flags in the style of Go programs, from one table that is both the parser and the help.
//!
//! `-x` and `--x` are the same, a value follows after a blank or a `=`, a switch takes a value only after
//! `=`, and the first word that is no flag ends the flags. `_` and `-` inside a name are the same.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Columns of every help text.
pub(crate) const HELP_COLUMNS: usize = 80;
/// Column at which the explanations begin.
const HELP_INDENT: usize = 33;

/// One flag: what it is called, what it does, how it is explained.
pub(crate) struct Flag<T> {
    /// All its names without dashes, the shortest first; one of nats-server's where it has one.
    pub(crate) names: &'static [&'static str],
    /// What its value is called in the help; `None` for a switch.
    pub(crate) value: Option<&'static str>,
    /// Heading it stands under.
    pub(crate) group: &'static str,
    /// One or two sentences.
    pub(crate) help: &'static str,
    /// Takes the value over. An error is the second half of a sentence that begins with the flag's name.
    pub(crate) apply: fn(&mut T, Value<'_>) -> Result<(), String>,
}

/// The value given to a flag; `true` for a switch without one.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a>(&'a OsStr);

impl<'a> Value<'a> {
    /// The value as text.
    pub(crate) fn text(self) -> Result<&'a str, String> {
        self.0.to_str().ok_or_else(|| "the value is not UTF-8".to_owned())
    }

    /// The value as text that may not be empty.
    pub(crate) fn word(self) -> Result<&'a str, String> {
        match self.text()? {
            "" => Err("the value is empty".to_owned()),
            text => Ok(text),
        }
    }

    /// The value as a path, which need not be UTF-8.
    pub(crate) fn path(self) -> Result<PathBuf, String> {
        if self.0.is_empty() { Err("the path is empty".to_owned()) } else { Ok(PathBuf::from(self.0)) }
    }
}

/// Why a command line cannot be obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// No such flag.
    #[error("{flag}: no such flag{}", did_you_mean(.near))]
    UnknownFlag {
        /// The flag as written, without a value.
        flag: String,
        /// A flag with a similar name.
        near: Option<String>,
    },
    /// A flag of nats-server that this server would have to ignore.
    #[error("{flag}: not supported by this server: {reason}")]
    Unsupported {
        /// The flag as written, without a value.
        flag: String,
        /// What is missing.
        reason: &'static str,
    },
    /// The command line ends where a value should be.
    #[error("{flag}: needs a value")]
    NoValue {
        /// The flag as written.
        flag: String,
    },
    /// The value does not fit the flag.
    #[error("{flag}: {reason}")]
    BadValue {
        /// The flag as written, without the value.
        flag: String,
        /// What is wrong with the value.
        reason: String,
    },
    /// The configuration file cannot be obeyed; one line for each thing that is wrong.
    #[error("{0}")]
    Config(String),
    /// A word that is neither a flag nor a command.
    #[error("{word:?}: no such command{}", did_you_mean(.near))]
    UnknownCommand {
        /// The word.
        word: String,
        /// A command with a similar name.
        near: Option<String>,
    },
    /// A word after the flags of a command that takes none.
    #[error("{word:?}: unexpected word{}", if *.switch { "; a switch takes its value after '=', as in -D=false" } else { "" })]
    UnexpectedWord {
        /// The word.
        word: String,
        /// Whether it looks like the value of a switch.
        switch: bool,
    },
}

fn did_you_mean(near: &Option<String>) -> String {
    near.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

/// Applies the flags at the front of `args` to `state`, and returns the words after them.
pub(crate) fn parse<'a, T>(
    flags: &[Flag<T>],
    unsupported: &[Unsupported],
    args: &'a [OsString],
    state: &mut T,
) -> Result<&'a [OsString], UsageError> {
    let mut rest = args;
    while let Some((arg, tail)) = rest.split_first() {
        let bytes = arg.as_bytes();
        if bytes == b"--" {
            return Ok(tail);
        }
        let Some(body) = bytes.strip_prefix(b"-").filter(|body| !body.is_empty()) else {
            return Ok(rest);
        };
        let body = body.strip_prefix(b"-").unwrap_or(body);
        let (name, inline) = match body.iter().position(|b| *b == b'=') {
            Some(at) => (body.get(..at).unwrap_or_default(), body.get(at + 1..)),
            None => (body, None),
        };
        let shown_len = bytes.len() - inline.map_or(0, |value| value.len() + 1);
        let shown = String::from_utf8_lossy(bytes.get(..shown_len).unwrap_or_default()).into_owned();
        let Some(flag) = flags.iter().find(|flag| flag.names.iter().any(|known| same_name(known, name))) else {
            return Err(unknown(flags, unsupported, name, shown));
        };
        rest = tail;
        let value = match (inline, flag.value) {
            (Some(value), _) => OsStr::from_bytes(value),
            (None, None) => OsStr::new("true"),
            (None, Some(_)) => {
                let Some((value, tail)) = rest.split_first() else {
                    return Err(UsageError::NoValue { flag: shown });
                };
                rest = tail;
                value
            }
        };
        (flag.apply)(state, Value(value)).map_err(|reason| UsageError::BadValue { flag: shown, reason })?;
    }
    Ok(rest)
}

/// Applies one flag as if `value` had been given to it. The error is the second half of a sentence that names the flag.
pub(crate) fn set<T>(flags: &[Flag<T>], name: &str, value: &str, state: &mut T) -> Result<(), String> {
    match flags.iter().find(|flag| flag.names.contains(&name)) {
        Some(flag) => (flag.apply)(state, Value(OsStr::new(value))),
        None => Err("no such flag".to_owned()),
    }
}

/// A flag that is known from nats-server and refused.
pub(crate) struct Unsupported {
    /// All its names without dashes.
    pub(crate) names: &'static [&'static str],
    /// What is missing.
    pub(crate) reason: &'static str,
}

fn unknown<T>(flags: &[Flag<T>], unsupported: &[Unsupported], name: &[u8], shown: String) -> UsageError {
    if let Some(entry) = unsupported.iter().find(|entry| entry.names.iter().any(|known| same_name(known, name))) {
        return UsageError::Unsupported { flag: shown, reason: entry.reason };
    }
    let names = flags.iter().flat_map(|flag| flag.names.iter().copied()).filter(|known| known.len() > 2);
    let near = nearest(&String::from_utf8_lossy(name), names).map(dashed);
    UsageError::UnknownFlag { flag: shown, near }
}

fn same_name(known: &str, given: &[u8]) -> bool {
    let plain = |b: &u8| if *b == b'_' { b'-' } else { *b };
    known.as_bytes().iter().map(plain).eq(given.iter().map(plain))
}

/// The candidate that begins with `word`, or is at most two typing mistakes away from it.
pub(crate) fn nearest<S: AsRef<str>>(word: &str, candidates: impl Iterator<Item = S>) -> Option<S> {
    let begins = |candidate: &str| word.len() > 1 && candidate.starts_with(word);
    candidates
        .map(|candidate| (if begins(candidate.as_ref()) { 0 } else { mistakes(word, candidate.as_ref()) }, candidate))
        .filter(|(mistakes, candidate)| *mistakes <= 2 && *mistakes * 2 <= candidate.as_ref().len())
        .min_by_key(|(mistakes, _)| *mistakes)
        .map(|(_, candidate)| candidate)
}

/// Insertions, removals and exchanges that lead from `a` to `b`.
fn mistakes(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (index, from) in a.chars().enumerate() {
        let mut left = index + 1;
        let mut next = vec![left];
        for (to, above) in b.chars().zip(row.windows(2)) {
            if let [diagonal, above] = above {
                left = (diagonal + usize::from(from != to)).min(above + 1).min(left + 1);
                next.push(left);
            }
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// A name with the dashes it is usually written with.
fn dashed(name: &str) -> String {
    let upper = name.bytes().all(|b| b.is_ascii_uppercase());
    if name.len() <= 2 || upper { format!("-{name}") } else { format!("--{name}") }
}

/// The help of a table: the flags under their headings, in the order of the table.
pub(crate) fn help<T>(flags: &[Flag<T>]) -> String {
    let mut out = String::new();
    let mut group = "";
    for flag in flags {
        if flag.group != group {
            group = flag.group;
            out.push_str(&format!("\n{group}:\n"));
        }
        let names: Vec<String> = flag.names.iter().map(|name| dashed(name)).collect();
        let mut left = format!("  {}", names.join(", "));
        if let Some(value) = flag.value {
            left.push_str(&format!(" <{value}>"));
        }
        columns(&mut out, &left, flag.help);
    }
    out
}

/// Appends one entry in two columns, the right one wrapped.
pub(crate) fn columns(out: &mut String, left: &str, right: &str) {
    out.push_str(left);
    let mut column = left.chars().count();
    if column + 2 > HELP_INDENT {
        out.push('\n');
        column = 0;
    }
    let mut empty = true;
    for word in right.split(' ') {
        let width = word.chars().count();
        if !empty && column + 1 + width > HELP_COLUMNS {
            out.push('\n');
            (column, empty) = (0, true);
        }
        if empty {
            out.push_str(&" ".repeat(HELP_INDENT.saturating_sub(column)));
            column = HELP_INDENT;
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
        empty = false;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Debug, PartialEq)]
    struct State {
        port: String,
        dir: PathBuf,
        debug: Option<bool>,
    }

    const FLAGS: &[Flag<State>] = &[
        Flag {
            names: &["p", "port"],
            value: Some("n"),
            group: "One",
            help: "A port.",
            apply: |state, value| {
                state.port = value.text()?.to_owned();
                Ok(())
            },
        },
        Flag {
            names: &["sd", "store_dir"],
            value: Some("dir"),
            group: "One",
            help: "A directory with an explanation that is far too long to stand on one line.",
            apply: |state, value| {
                state.dir = value.path()?;
                Ok(())
            },
        },
        Flag {
            names: &["D", "debug"],
            value: None,
            group: "Two",
            help: "A switch.",
            apply: |state, value| {
                state.debug = Some(crate::cli::values::switch(value.text()?)?);
                Ok(())
            },
        },
    ];
    const UNSUPPORTED: &[Unsupported] = &[Unsupported { names: &["t"], reason: "no such thing" }];

    fn run(args: &[&str]) -> Result<(State, Vec<String>), String> {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let mut state = State::default();
        let rest = parse(FLAGS, UNSUPPORTED, &args, &mut state).map_err(|error| error.to_string())?;
        Ok((state, rest.iter().map(|word| word.to_string_lossy().into_owned()).collect()))
    }

    #[test]
    fn every_spelling_of_a_flag_is_the_same() {
        for args in [
            &["-p", "-1", "-sd", "d", "-D"][..],
            &["--p", "-1", "--sd", "d", "--D"],
            &["-p=-1", "-sd=d", "-D=true"],
            &["--port=-1", "--store_dir=d", "--debug=1"],
            &["-port", "-1", "--store-dir", "d", "-debug=T"],
        ] {
            let (state, rest) = run(args).unwrap();
            assert_eq!(state, State { port: "-1".into(), dir: "d".into(), debug: Some(true) }, "{args:?}");
            assert!(rest.is_empty());
        }
        assert_eq!(run(&["-D=false"]).unwrap().0.debug, Some(false));
        assert_eq!(run(&["-p=a=b"]).unwrap().0.port, "a=b");
        assert_eq!(run(&["-p="]).unwrap().0.port, "");
        assert_eq!(run(&["-p", "1", "-p", "2"]).unwrap().0.port, "2");
    }

    #[test]
    fn flags_end_at_the_first_word() {
        assert_eq!(run(&["-D", "word", "-p", "1"]).unwrap().1, ["word", "-p", "1"]);
        assert_eq!(run(&["-D", "--", "-p"]).unwrap().1, ["-p"]);
        assert_eq!(run(&["-"]).unwrap().1, ["-"]);
    }

    #[test]
    fn refusals_name_the_flag() {
        assert_eq!(run(&["--prot", "1"]).unwrap_err(), "--prot: no such flag; did you mean --port?");
        assert_eq!(run(&["--zzzzzz=secret"]).unwrap_err(), "--zzzzzz: no such flag");
        assert_eq!(run(&["-t"]).unwrap_err(), "-t: not supported by this server: no such thing");
        assert_eq!(run(&["-p"]).unwrap_err(), "-p: needs a value");
        assert_eq!(run(&["-sd="]).unwrap_err(), "-sd: the path is empty");
        assert_eq!(run(&["--debug=x"]).unwrap_err(), "--debug: \"x\" is neither true nor false");
    }

    #[test]
    fn paths_need_not_be_text() {
        let args = [OsString::from("-sd"), OsStr::from_bytes(b"/tmp/\xff").to_owned()];
        let mut state = State::default();
        parse(FLAGS, UNSUPPORTED, &args, &mut state).unwrap();
        assert_eq!(state.dir.as_os_str().as_bytes(), b"/tmp/\xff");
    }

    #[test]
    fn help_is_wrapped_under_its_column() {
        let text = help(FLAGS);
        assert!(text.lines().all(|line| line.chars().count() <= HELP_COLUMNS), "{text}");
        assert!(text.contains("\nTwo:\n  -D, --debug"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with(&" ".repeat(HELP_INDENT))).count(), 1, "{text}");
    }
}

//! The command line: `sublog` alone serves; the other commands are clients of a running server, or read a
//! data directory offline.
//!
//! The server's arguments are nats-server's, in Go style ([`serve`]); the commands' are parsed by clap
//! ([`commands`]). Nothing in here decides how a server behaves; it fills [`crate::config::ServerOptions`]
//! and calls [`crate::server::run`].
//!
//! Exit codes: 0 done, 1 an error (for the server also a wrong command line, as nats-server has it), 2 a
//! wrong command line of a client command, 3 a replay, subscription or export that ended without a message, 4 an
//! export that had to leave lost messages out, 130 interrupted.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::process::ExitCode;

mod banner;
mod called;
mod client;
mod commands;
mod connection;
mod export;
mod flags;
mod inspect;
mod output;
mod positions;
mod progress;
mod publish;
mod replay;
pub mod serve;
mod signal;
mod streams;
mod subscribe;
mod unsupported;
mod url;
pub mod values;
mod verify;

pub use banner::{BannerFacts, Recovered, announce, banner};
pub use called::Called;
pub use flags::UsageError;
pub(crate) use flags::nearest;
pub use signal::{SignalError, Signalled};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const EXIT_ERROR: u8 = 1;
const EXIT_USAGE: u8 = 2;
const EXIT_NO_MATCH: u8 = 3;
const EXIT_LOST: u8 = 4;
const EXIT_INTERRUPTED: u8 = 130;

/// Does what the arguments ask for; the first one is the program's name.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let program = serve::Program::of(&args.next().unwrap_or_default());
    let args: Vec<OsString> = args.collect();
    let server = |args: &[OsString]| server(args, &program);
    let Some((first, rest)) = args.split_first() else {
        return server(&[]);
    };
    // That one has no commands.
    if program.called == Called::NatsServer {
        return server(&args);
    }
    let known = |word: &OsStr| commands::is_command(word);
    match first.to_str() {
        Some("serve") => server(rest),
        Some("help") => match rest.first() {
            None => print(&help()),
            Some(word) if word == "serve" => print(&help()),
            Some(word) if known(word) => commands::run(&[word.clone(), "--help".into()]),
            Some(word) => misused(&unknown_command(word)),
        },
        _ if known(first) => commands::run(&args),
        Some("version") => print(&version(program.called)),
        _ if first.as_encoded_bytes().starts_with(b"-") => server(&args),
        _ => misused(&unknown_command(first)),
    }
}

/// Serves, or prints what the flags ask for instead.
fn server(args: &[OsString], program: &serve::Program) -> ExitCode {
    let serve = match serve::parse_as(args, program) {
        Ok(serve::Request::Help) => return print(&help()),
        Ok(serve::Request::HelpTls) => return print(&crate::tls::help()),
        Ok(serve::Request::Version) => return print(&version(program.called)),
        Ok(serve::Request::Signal(signalled)) => {
            return signalled.send().map_or_else(|error| complain(&error), |()| ExitCode::SUCCESS);
        }
        Ok(serve::Request::Checked(checked)) => {
            for warning in &checked.warnings {
                output::warn(&format!("warning: {warning}"));
            }
            output::warn(&format!("configuration file {} is valid ({})", checked.path.display(), checked.digest));
            return ExitCode::SUCCESS;
        }
        Ok(serve::Request::Serve(serve)) => serve,
        Err(UsageError::Config(text)) => {
            text.lines().for_each(output::warn);
            return ExitCode::from(EXIT_ERROR);
        }
        Err(error) => return misused(&error),
    };
    let log = match crate::logging::init(&serve.log) {
        Ok(log) => log,
        Err(error) => return complain(&error),
    };
    if let Some(path) = &serve.config {
        tracing::info!("Using configuration file: {}", path.display());
    }
    for warning in &serve.warnings {
        tracing::warn!("{warning}");
    }
    let reload = serve.config.as_ref().map(|_| crate::server::Reload {
        source: again(args.to_vec(), program.clone()),
        log: serve.log.clone(),
        places: serve.places.clone(),
        digest: serve.digest.clone(),
    });
    match crate::server::run(serve.server, log, reload) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(fatal = true, "{}", chain(&error));
            ExitCode::from(EXIT_ERROR)
        }
    }
}

/// Reads the command line again, and with it the configuration file.
fn again(args: Vec<OsString>, program: serve::Program) -> Box<dyn Fn() -> Result<crate::server::Fresh, String> + Send> {
    Box::new(move || match serve::parse_as(&args, &program) {
        Ok(serve::Request::Serve(serve)) => Ok(crate::server::Fresh {
            server: serve.server,
            log: serve.log,
            places: serve.places,
            warnings: serve.warnings.iter().map(ToString::to_string).collect(),
            digest: serve.digest,
        }),
        Ok(_) => Err("the command line asks for something else than a server".to_owned()),
        Err(error) => Err(error.to_string()),
    })
}

/// An error with what caused it, unless its text says so already.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn unknown_command(word: &OsStr) -> UsageError {
    let word = word.to_string_lossy().into_owned();
    let near = flags::nearest(&word, commands::names());
    UsageError::UnknownCommand { word, near }
}

fn version(called: Called) -> String {
    format!("{}: v{}\n", called.name(), called.version())
}

/// The help of the whole program.
fn help() -> String {
    let mut text = String::from(
        "Sublog: a NATS server that remembers. Every message is also written to a log on\n\
         disk, and any subscriber can go back and replay it.\n\
         \n\
         Usage: sublog [serve] [flags]         serve NATS clients, recording all messages\n       \
         sublog <command> [arguments]   (sublog help <command> tells more)\n\
         \n\
         Commands:\n",
    );
    for (name, about) in commands::abouts() {
        flags::columns(&mut text, &format!("  {name}"), &about);
    }
    text.push_str(
        "\n\
         Flags of the server, with one dash or two, values after a blank or '=':\n",
    );
    text.push_str(&serve::flags_help());
    text.push_str(
        "\n\
         Durations: 250ms 90s 15m 6h 7d. Sizes: k m g t are powers of 1000, KiB MiB GiB\n\
         TiB (and KB MB GB TB) powers of 1024.\n\
         Signals: INT and TERM end the server, HUP reads the configuration file again,\n\
         USR1 opens the log file anew, USR2 asks the clients to leave and then ends it.\n\
         Under the name nats-server it is one: streams with -js or a jetstream block,\n\
         recording with a sublog block, --capture on or SUBLOG_CAPTURE=on.\n",
    );
    text
}

/// Prints a text on stdout; a reader that has gone away is no error.
fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::from(EXIT_ERROR),
        _ => ExitCode::SUCCESS,
    }
}

/// Says on stderr, in one line, why nothing was done.
fn complain(error: &dyn std::fmt::Display) -> ExitCode {
    output::warn(&error.to_string());
    ExitCode::from(EXIT_ERROR)
}

/// As [`complain`] for a wrong command line.
fn misused(error: &UsageError) -> ExitCode {
    complain(&format!("{error} (sublog help tells more)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_a_terminal() {
        for line in help().lines() {
            assert!(line.chars().count() <= flags::HELP_COLUMNS, "{line}");
        }
    }

    #[test]
    fn every_command_is_in_the_help() {
        let help = help();
        for (name, _) in commands::abouts() {
            assert!(help.contains(&format!("\n  {name} ")), "{name} is missing");
        }
    }

    #[test]
    fn chains_say_nothing_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::io::Error);
        #[derive(Debug, thiserror::Error)]
        #[error("outer: {0}")]
        struct Telling(#[source] std::io::Error);
        let cause = || std::io::Error::other("inner");
        assert_eq!(chain(&Outer(cause())), "outer: inner");
        assert_eq!(chain(&Telling(cause())), "outer: inner");
    }
}

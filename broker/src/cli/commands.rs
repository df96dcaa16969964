//! The commands besides `serve`, as clap knows them.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use super::{EXIT_ERROR, EXIT_USAGE, export, inspect, publish, replay, streams, subscribe, verify};

/// Columns of the help.
const COLUMNS: usize = 80;

/// The command line of all commands.
#[derive(Debug, Parser)]
#[command(name = "sublog", term_width = COLUMNS, disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// The commands, in the order of the help.
#[derive(Debug, Subcommand)]
enum Command {
    Pub(publish::Args),
    Sub(subscribe::Args),
    Replay(replay::Args),
    Export(export::Args),
    Streams(streams::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
}

/// Names and one-line descriptions, `serve` first.
pub(crate) fn abouts() -> impl Iterator<Item = (String, String)> {
    let serve = ("serve".to_owned(), "Serve NATS clients and record their messages (the default)".to_owned());
    let commands: Vec<(String, String)> = CommandLine::command()
        .get_subcommands()
        .map(|command| {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            (command.get_name().to_owned(), about)
        })
        .collect();
    std::iter::once(serve).chain(commands)
}

/// The names of all commands.
pub(crate) fn names() -> impl Iterator<Item = String> {
    abouts().map(|(name, _)| name).chain(["help".to_owned(), "version".to_owned()])
}

/// Whether clap knows the command.
pub(crate) fn is_command(word: &OsStr) -> bool {
    CommandLine::command().get_subcommands().any(|command| word == command.get_name())
}

/// Runs the command that `args` begin with.
pub(crate) fn run(args: &[OsString]) -> ExitCode {
    let line = std::iter::once(OsString::from("sublog")).chain(args.iter().cloned());
    let parsed = match CommandLine::try_parse_from(line) {
        Ok(parsed) => parsed,
        Err(error) => {
            let usage = error.use_stderr();
            return match error.print() {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(EXIT_ERROR),
                _ if usage => ExitCode::from(EXIT_USAGE),
                _ => ExitCode::SUCCESS,
            };
        }
    };
    match parsed.command {
        Command::Pub(args) => publish::run(args),
        Command::Sub(args) => subscribe::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Export(args) => export::run(&args),
        Command::Streams(args) => streams::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Verify(args) => verify::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_help_fits_a_terminal() {
        let mut line = CommandLine::command();
        for command in line.get_subcommands_mut() {
            let mut command = command.clone().term_width(COLUMNS);
            let text = command.render_long_help().to_string();
            assert!(text.len() > 200, "{text}");
            for row in text.lines() {
                assert!(row.chars().count() <= COLUMNS, "{row}");
            }
        }
    }
}

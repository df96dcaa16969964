//! `sublog verify`: checks every message of a data directory against its checksum.

use std::process::ExitCode;

use super::client::Failure;
use super::inspect::{self, Place, StreamReport};
use super::progress::{Progress, Unit};

/// Check every message in a data directory, offline
#[derive(Debug, clap::Args)]
#[command(after_help = "Changes nothing. Best used while no server writes to the directory: what a running
server is writing looks unfinished.

Exit codes: 0 sound, 1 damage or an error, 2 a wrong command line.")]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    check(args).unwrap_or_else(|failure| failure.report())
}

fn check(args: &Args) -> Result<ExitCode, Failure> {
    let logs = inspect::logs(&args.place.dir)?;
    let mut reports = Vec::new();
    for (name, dir) in logs {
        let mut progress: Option<Progress> = None;
        let report = sublog_storage::verify(&dir, &mut |now| {
            let start = || Progress::start("checked", Unit::Bytes, Some(now.total_bytes), false);
            progress.get_or_insert_with(start).set(now.done_bytes, now.done_bytes);
        })
        .map_err(|error| Failure::Other(error.to_string()))?;
        reports.push(StreamReport { name, report });
    }
    inspect::print(&reports, args.place.format, "sound, every message was checked")
}

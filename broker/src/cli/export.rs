//! `sublog export`: messages from the past into a file, Parquet or NDJSON.
//!
//! A [`job::Job`] takes the messages one by one, in the order of the log, decides which belong to the export, and hands
//! them to the writer of the format. They come from a running server, over a replay ([`online`]), or from a data
//! directory that is read as it lies there ([`offline`]). The file has its name only once it is whole ([`outfile`]).

mod field;
mod interrupt;
mod job;
mod json;
mod ndjson;
mod offline;
mod online;
mod outfile;
mod parquet;
mod range;
mod report;
mod row;
mod sink;
mod what;

use std::path::PathBuf;
use std::process::ExitCode;

use super::client::{Access, Failure};
use super::positions::{self, Start};
use super::subscribe;
use crate::clock;
use field::Field;
use interrupt::Interrupt;
use job::Job;
use parquet::TimePrecision;
use range::{Range, Stop};
use sink::{Format, Plan};

/// Write messages from the past to a file: Parquet or NDJSON
#[derive(Debug, clap::Args)]
#[command(after_help = "WHAT is the name of a stream (see sublog streams; CAPTURE is everything), else a
subject filter: a word with a dot in it, or * or >. A stream's name wins; a
filter of one plain word is given with --subject.

Messages come from a running server (-s, else $NATS_URL, else 127.0.0.1:4222),
or with --data from a data directory on this machine. That is only read, without
a lock, also while the server runs: what is on disk when the export begins.

Positions:
  all, start    the oldest message there is
  seq:N         the message with this sequence; --to seq:N includes it
  last:N        (--from) the N newest messages with this subject
  6h            so long ago, by this machine's clock
  2025-06-01T12:00:00Z, 2025-06-01, '2025-06-01 12:00'
                a time, local unless it says otherwise
  1748779200    a time in unix seconds, or milliseconds
  now           (--to) the newest message when the export begins
A time is included with --from and excluded with --to, so that --to of one
export and --from of the next can be the same.

Columns, one row a message: stream, sequence, time, subject, headers, a column
for each --field, payload. In Parquet headers are a map<string, list<string>>
and the payload is binary. In NDJSON a payload is \"payload\" if it is UTF-8, else
\"payload_base64\"; with --json one that is JSON is \"payload\" as a value, and
other text is \"payload_text\".

Fields: --field name=path or name=path:type, a path like steps.cmsRun1.site,
steps[0].site, steps[-1], [\"a key\"], or $ for all; types string (the default),
int64, double, bool, json. Where a payload is not JSON, or has nothing at the
path, or no such type there, the cell is null; that is counted at the end.

Examples:
  sublog export CAPTURE --out all.parquet
  sublog export 'cms.wmarchive.>' --from 24h --out day.parquet \\
      --field site=steps.cmsRun1.site --field wall=wall:double
  sublog export 'demo.>' --data sublog-data --json --out - | jq .payload

Exit codes: 0 done, 1 an error, 2 a wrong command line, 3 nothing matched (the
file is there, without a row), 4 done, but messages of that range are lost to
damage, 130 interrupted. The file has its name only with 0, 3 and 4.")]
pub(crate) struct Args {
    /// Stream, or subject filter: * stands for one word, > for the rest
    #[arg(value_name = "WHAT", required_unless_present = "subject")]
    what: Option<String>,
    /// Only messages with this subject
    #[arg(long, value_name = "FILTER", value_parser = subscribe::parse_filter)]
    subject: Option<String>,
    /// Where to begin
    #[arg(long, value_name = "POSITION", default_value = "all", value_parser = positions::parse_from)]
    from: Start,
    /// Where to end
    #[arg(long, value_name = "POSITION", default_value = "now", value_parser = range::parse_to)]
    to: Stop,
    /// End after so many messages
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Read this data directory (a server's -sd, or one log in it) instead of asking a server
    #[arg(long, value_name = "DIR", conflicts_with_all = ["server", "user", "pass", "token"])]
    data: Option<PathBuf>,
    /// Do not print how far it is, nor what was written
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    access: Access,
}

/// What is written, and where.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct Output {
    /// File to write; its ending says the format: .parquet, .ndjson or .jsonl, .ndjson.zst; - is stdout
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Format, whatever the file is called; on stdout it is ndjson otherwise
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// Replace the file if it exists, once the new one is whole
    #[arg(long)]
    force: bool,
    /// Column from JSON payloads, see below; may be given more than once
    #[arg(long = "field", value_name = "NAME=PATH[:TYPE]", value_parser = field::parse)]
    fields: Vec<Field>,
    /// Leave the payloads out
    #[arg(long)]
    no_payload: bool,
    /// NDJSON: payloads that are JSON are values, not text
    #[arg(long, conflicts_with = "no_payload")]
    json: bool,
    /// Parquet: how fine the times are; ns by itself
    #[arg(long, value_enum, value_name = "UNIT")]
    time_unit: Option<TimePrecision>,
    /// Level of zstd; 3 by itself
    #[arg(long, value_name = "1..19", value_parser = clap::value_parser!(i32).range(1..=19))]
    level: Option<i32>,
}

/// How the reading of messages ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Whole,
    Interrupted,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    export(args).unwrap_or_else(|failure| failure.report())
}

fn export(args: &Args) -> Result<ExitCode, Failure> {
    let range = Range::new(args.from, args.to, args.limit, clock::unix_ns())?;
    let plan = Plan::new(&args.output)?;
    let (runtime, interrupt) = Interrupt::listen()?;
    let mut job = Job::new(&plan, range, args.quiet)?;
    let outcome = match &args.data {
        Some(dir) => offline::read(args, dir, &mut job, &interrupt),
        None => runtime.block_on(online::read(args, &mut job, &interrupt)),
    };
    let code = match outcome {
        Ok(Ended::Whole) => job.finish(),
        Ok(Ended::Interrupted) => job.interrupted(),
        Err(failure) => job.failed_with(&failure),
    };
    runtime.shutdown_background();
    Ok(code)
}

//! `sublog sub`: prints messages as they are published.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use sublog_protocol::{encode, subject};

use super::client::{self, Access, Failure};
use super::connection::Connection;
use super::output::{self, Format, Printer, Shown};
use super::values;
use crate::clock;

/// Print messages as they are published
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sublog sub 'demo.>'
  sublog sub demo.work --queue workers --count 10 --format json

Exit codes: 0 --count messages came, 1 an error, 2 a wrong command line,
130 interrupted.")]
pub(crate) struct Args {
    /// Subject; * stands for one word, > for the rest
    #[arg(value_parser = parse_filter)]
    subject: String,
    /// Share the messages with the other members of this queue group
    #[arg(short, long, value_name = "GROUP", value_parser = parse_group)]
    queue: Option<String>,
    /// End after so many messages
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How to print messages
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    access: Access,
}

/// Reads a subject that may have wildcards.
pub(super) fn parse_filter(text: &str) -> Result<String, String> {
    if subject::is_valid_filter(text.as_bytes()) {
        return Ok(text.to_owned());
    }
    Err("words separated by dots, without blanks; * alone is any word, > at the end any rest".to_owned())
}

fn parse_group(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("one word".to_owned());
    }
    Ok(text.to_owned())
}

/// Runs the command.
pub(crate) fn run(args: Args) -> ExitCode {
    client::run(subscribe(args))
}

async fn subscribe(args: Args) -> Result<u8, Failure> {
    const SID: &[u8] = b"1";
    let mut connection = Connection::open(&args.access.target()?, "sublog sub", false).await?;
    encode::subscribe(connection.output(), args.subject.as_bytes(), args.queue.as_deref().map(str::as_bytes), SID);
    if let Some(count) = args.count {
        encode::unsubscribe(connection.output(), SID, Some(count));
    }
    // The answer tells whether the server accepts the subscription; messages may come before it.
    let ready = connection.ping();
    let mut announced = !io::stderr().is_terminal();
    let mut printer = Printer::stdout(args.format);
    let mut left = args.count.unwrap_or(u64::MAX);
    loop {
        while let Some(message) = connection.next()? {
            let (headers, payload) = message.message.split_at_checked(message.header_len).unwrap_or_default();
            let time = values::show_time(clock::unix_ns(), 6);
            printer.message(&Shown {
                place: None,
                time: &time,
                subject: message.subject,
                reply: message.reply,
                headers,
                payload,
            })?;
            left -= 1;
            if left == 0 {
                printer.flush()?;
                return Ok(0);
            }
        }
        printer.flush()?;
        if !announced && connection.pongs() >= ready {
            announced = true;
            let text = format!("Listening to {} at {}; Ctrl-C ends.\n", args.subject, connection.peer());
            output::to_stderr(&text);
        }
        connection.wait().await?;
    }
}

//! `sublog streams`: what a running server records. Also where the other commands learn how far history goes.

use std::io::Write as _;
use std::process::ExitCode;

use serde::Deserialize;

use super::client::{self, Access, Failure};
use super::connection::{ClientError, Connection};
use super::output;
use super::values;

/// Subject on which a server tells about its streams.
const STATE_SUBJECT: &str = "$SUBLOG.STATE";

/// Show what a running server has recorded
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 done, 1 an error, 2 a wrong command line.")]
pub(crate) struct Args {
    /// Print the server's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: Access,
}

/// One stream, as far as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct StreamState {
    /// Its name.
    pub(crate) name: String,
    /// Sequence of the oldest message.
    pub(crate) first_seq: u64,
    /// Sequence of the newest message.
    pub(crate) last_seq: u64,
    /// Messages that can be replayed.
    pub(crate) messages: u64,
    bytes: u64,
    first_time: String,
    last_time: String,
    health: String,
    error: Option<String>,
    damaged_ranges: u64,
    expired_messages: u64,
    expired_bytes: u64,
    consumer_count: usize,
    consumers: Vec<ConsumerState>,
}

/// One consumer, as far as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct ConsumerState {
    name: String,
    lag_messages: u64,
    lag_seconds: f64,
    num_ack_pending: u64,
    stalled: Option<String>,
}

#[derive(Deserialize)]
struct State {
    streams: Vec<StreamState>,
}

/// Asks the server for its streams.
pub(crate) async fn fetch(connection: &mut Connection) -> Result<Vec<StreamState>, Failure> {
    let json = fetch_json(connection).await?;
    match serde_json::from_slice::<State>(&json) {
        Ok(state) => Ok(state.streams),
        Err(error) => Err(ClientError::Protocol {
            peer: connection.peer().to_owned(),
            reason: format!("{STATE_SUBJECT}: {error}"),
        }
        .into()),
    }
}

async fn fetch_json(connection: &mut Connection) -> Result<Vec<u8>, Failure> {
    Ok(connection.request(STATE_SUBJECT, b"").await?)
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    client::run(async {
        let mut connection = Connection::open(&args.access.target()?, "sublog streams", false).await?;
        let text = if args.json {
            let json = fetch_json(&mut connection).await?;
            format!("{}\n", String::from_utf8_lossy(&json))
        } else {
            show(&fetch(&mut connection).await?)
        };
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(0)
    })
}

fn show(streams: &[StreamState]) -> String {
    if streams.is_empty() {
        return "The server records nothing.\n".to_owned();
    }
    let second = |time: &str| match time.get(..19) {
        Some(time) => time.replace('T', " "),
        None => "-".to_owned(),
    };
    let rows: Vec<Vec<String>> = streams
        .iter()
        .map(|stream| {
            vec![
                stream.name.clone(),
                values::show_count(stream.messages),
                values::show_size(stream.bytes),
                format!("#{}", stream.first_seq),
                format!("#{}", stream.last_seq),
                second(&stream.last_time),
            ]
        })
        .collect();
    let head = ["STREAM", "MESSAGES", "SIZE", "FIRST", "LAST", "LAST TIME (UTC)"];
    let mut text = output::table(&head, &[false, true, true, true, true, false], &rows);
    for stream in streams {
        let name = &stream.name;
        if stream.messages > 0 {
            text.push_str(&format!("{name}: history begins {}\n", second(&stream.first_time)));
        }
        if stream.expired_messages > 0 {
            let (count, size) = (values::show_count(stream.expired_messages), values::show_size(stream.expired_bytes));
            text.push_str(&format!("{name}: {count} messages ({size}) were removed by its limits since the start\n"));
        }
        if stream.damaged_ranges > 0 {
            text.push_str(&format!("{name}: {} ranges are DAMAGED (see sublog verify)\n", stream.damaged_ranges));
        }
        let error = stream.error.as_deref().unwrap_or("no reason given");
        match stream.health.as_str() {
            "" | "ok" => {}
            "slow" => text.push_str(&format!("{name}: publishers wait for the DISK: {error}\n")),
            health => text.push_str(&format!("{name}: NOT WRITING, {health}: {error}\n")),
        }
    }
    text.push_str(&show_consumers(streams));
    text
}

/// How far consumers are behind.
fn show_consumers(streams: &[StreamState]) -> String {
    let rows: Vec<Vec<String>> = streams
        .iter()
        .flat_map(|stream| stream.consumers.iter().map(move |consumer| (stream, consumer)))
        .map(|(stream, consumer)| {
            vec![
                consumer.name.clone(),
                stream.name.clone(),
                values::show_count(consumer.lag_messages),
                if consumer.lag_messages == 0 { "-".to_owned() } else { behind(consumer.lag_seconds) },
                values::show_count(consumer.num_ack_pending),
                consumer.stalled.clone().unwrap_or_default(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let head = ["CONSUMER", "STREAM", "LAG", "BEHIND", "UNACKED", "HELD UP BY"];
    let mut text = format!("\n{}", output::table(&head, &[false, false, true, true, true, false], &rows));
    for stream in streams.iter().filter(|stream| stream.consumer_count > stream.consumers.len()) {
        let more = stream.consumer_count - stream.consumers.len();
        text.push_str(&format!("{}: {more} more consumers\n", stream.name));
    }
    text
}

/// A span of time in the two largest units that matter.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a span of seconds, shown without fractions"
)]
fn behind(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..10 => format!("{seconds:.1}s"),
        10..60 => format!("{whole}s"),
        60..3600 => format!("{}m{}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d{}h", whole / 86_400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_a_table_with_remarks() {
        assert_eq!(show(&[]), "The server records nothing.\n");
        let json = br#"{"streams":[{"name":"CAPTURE","first_seq":11,"last_seq":1234567890,"messages":1234567880,
            "bytes":1099511627776,"first_time":"2025-06-01T12:00:00Z","last_time":"2025-06-08T12:00:00.5Z",
            "health":"full","error":"no space","damaged_ranges":2,"expired_messages":10,"expired_bytes":2048,
            "consumer_count":3,"consumers":[
                {"name":"ARCHIVE","lag_messages":12345,"lag_seconds":7384.5,"num_ack_pending":1000,
                 "stalled":"max_ack_pending"},
                {"name":"LIVE","lag_messages":0,"lag_seconds":0.0,"num_ack_pending":0}]}]}"#;
        let state: State = serde_json::from_slice(json).unwrap();
        let text = show(&state.streams);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for part in [
            "CAPTURE  1,234,567,880  1.0 TiB    #11  #1234567890  2025-06-08 12:00:00",
            "begins 2025-06-01 12:00:00",
            "10 messages (2.0 KiB) were removed",
            "2 ranges are DAMAGED",
            "NOT WRITING, full: no space",
            "ARCHIVE   CAPTURE  12,345    2h3m    1,000  max_ack_pending",
            "LIVE      CAPTURE       0       -        0",
            "CAPTURE: 1 more consumers",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
    }
}

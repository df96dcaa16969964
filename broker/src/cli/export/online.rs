//! Messages from a running server, over a replay.

use jiff::Timestamp;
use sublog_protocol::decode::Message;
use sublog_protocol::encode;
use sublog_protocol::headers::{self, Headers};

use super::interrupt::Interrupt;
use super::job::{Job, Next};
use super::row::Row;
use super::{Args, Ended, what};
use crate::capture::CAPTURE;
use crate::cli::client::Failure;
use crate::cli::connection::{ClientError, Connection};
use crate::cli::positions::{CAUGHT_UP, PREFIX, replay_subject};
use crate::cli::{output, streams};

const SID: &[u8] = b"1";
/// Status that tells which messages are lost.
const LOST: u16 = 410;

/// Reads from the server what the job wants.
pub(super) async fn read(args: &Args, job: &mut Job<'_>, interrupt: &Interrupt) -> Result<Ended, Failure> {
    tokio::select! {
        // Both are polled whenever the socket lets the reading wait.
        biased;
        () = interrupt.wait() => Ok(Ended::Interrupted),
        ended = replay(args, job, interrupt) => ended,
    }
}

async fn replay(args: &Args, job: &mut Job<'_>, interrupt: &Interrupt) -> Result<Ended, Failure> {
    let mut connection = Connection::open(&args.access.target()?, "sublog export", true).await?;
    let info = connection.info();
    if info.sublog.is_none() {
        let peer = connection.peer();
        let text = format!("{peer} (nats-server {}) keeps no history; export needs Sublog", info.version);
        return Err(Failure::Other(text));
    }
    let known = match streams::fetch(&mut connection).await {
        Ok(streams) => Some(streams),
        // A user who may replay but not ask: the status message ends the replay.
        Err(Failure::Client(ClientError::Server { text, .. })) if text.starts_with("Permissions") => None,
        Err(failure) => return Err(failure),
    };
    let names: Vec<String> = match &known {
        Some(streams) => streams.iter().map(|stream| stream.name.clone()).collect(),
        None => vec![CAPTURE.to_owned()],
    };
    let what = what::resolve(args, &names)?;
    if what.stream != CAPTURE {
        let text = format!("a server replays {CAPTURE} only; {} is read with --data", what.stream);
        return Err(Failure::Usage(text));
    }
    let state = known.iter().flatten().find(|stream| stream.name == what.stream);
    if let Some(state) = state
        && !job.begin(state.first_seq, state.last_seq)
    {
        return Ok(Ended::Whole);
    }
    let subject = replay_subject(job.range.from, &what.filter);
    encode::subscribe(connection.output(), subject.as_bytes(), None, SID);
    loop {
        while let Some(message) = connection.next()? {
            if take(job, &message)? == Next::End {
                return Ok(Ended::Whole);
            }
        }
        if interrupt.came() {
            return Ok(Ended::Interrupted);
        }
        job.pause(0)?;
        connection.wait().await?;
    }
}

fn take(job: &mut Job<'_>, message: &Message<'_>) -> Result<Next, Failure> {
    let (block, payload) = message.message.split_at_checked(message.header_len).unwrap_or_default();
    if message.subject.starts_with(PREFIX.as_bytes()) {
        return Ok(status(job, block));
    }
    let text = |key: &[u8]| headers::get(block, key).and_then(|value| std::str::from_utf8(value).ok());
    let place = text(b"Nats-Sequence").and_then(|seq| seq.parse::<u64>().ok()).zip(text(b"Nats-Stream"));
    let time = text(b"Nats-Time-Stamp").and_then(|time| time.parse::<Timestamp>().ok());
    let Some(((seq, stream), time)) = place.zip(time) else {
        return Err(Failure::Other("the server sent a message without its sequence, stream or time".to_owned()));
    };
    job.take(Row {
        stream,
        seq,
        ts_ns: i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX),
        subject: message.subject,
        headers: block,
        has_position: true,
        payload,
    })
}

/// What the server says about the replay itself.
fn status(job: &mut Job<'_>, block: &[u8]) -> Next {
    let Ok(status) = Headers::parse(block) else { return Next::More };
    let number = |key: &[u8]| std::str::from_utf8(status.get(key)?).ok()?.parse::<u64>().ok();
    match status.status() {
        // What is not there yet is not waited for.
        Some(CAUGHT_UP) => return Next::End,
        Some(LOST) => {
            if let Some((first, last)) = number(b"Nats-First-Sequence").zip(number(b"Nats-Last-Sequence"))
                && first <= last
            {
                job.lost(first, last);
            }
        }
        _ => output::warn(&String::from_utf8_lossy(status.description()).escape_debug().to_string()),
    }
    Next::More
}

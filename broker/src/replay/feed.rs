//! The task of one replay: log to socket, at the reader's pace.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use sublog_protocol::{encode, headers, subject};
use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{LostRange, LostReason, ReadEnd, ReadError, Reader, RecordRef, Selection, Visit};

use super::Replay;
use super::grammar::{Request, Start};
use crate::capture::CAPTURE;
use crate::client::{Client, CloseReason};
use crate::clock;
use crate::limits::{REPLAY_PENDING_BYTES, REPLAY_TURN_BYTES, REPLAY_ZERO_COPY_BYTES};
use crate::rfc3339;
use crate::server::Server;

/// See the module.
pub struct Feed {
    server: Arc<Server>,
    client: Arc<Client>,
    replay: Arc<Replay>,
    request: Request,
    /// The subject subscribed to, for the status that tells the end of history.
    subject: Box<[u8]>,
    reader: Reader,
    /// For a filter that selects only some subjects: reads what matches, by way of the index.
    selection: Option<Selection>,
    batch: Batch,
}

/// Deliveries on their way to one socket, payloads by reference.
struct Batch {
    sid: Box<[u8]>,
    headers: bool,
    everything: bool,
    chunks: Vec<Bytes>,
    open: Vec<u8>,
    bytes: usize,
    msgs: u64,
    before_last: Mark,
    stamp: rfc3339::Stamp,
    /// Lost messages that the client is still to be told of: neighbours are one range.
    lost: Option<(u64, u64)>,
    /// Subject of what is said about lost messages; empty if the client has not asked for that.
    status_subject: Box<[u8]>,
}

/// Where a batch stood before its last delivery.
#[derive(Clone, Copy, Default)]
struct Mark {
    chunks: usize,
    open: usize,
    bytes: usize,
}

/// Why a replay's task ends.
enum End {
    Over,
    Broken(CloseReason),
}

impl Feed {
    /// A replay about to start.
    #[must_use]
    pub fn new(
        server: Arc<Server>,
        client: Arc<Client>,
        replay: Arc<Replay>,
        request: Request,
        subject: &[u8],
        reader: Reader,
    ) -> Self {
        let batch = Batch {
            sid: replay.sid.clone(),
            headers: client.headers.load(Ordering::Relaxed),
            everything: &*request.filter == b">",
            chunks: Vec::new(),
            open: Vec::new(),
            bytes: 0,
            msgs: 0,
            before_last: Mark::default(),
            stamp: rfc3339::Stamp::default(),
            lost: None,
            status_subject: if client.replay_status.load(Ordering::Relaxed) { subject.into() } else { Box::default() },
        };
        Self { server, client, replay, request, subject: subject.into(), reader, selection: None, batch }
    }

    /// Whether it was ended before it began.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.replay.has_ended()
    }

    /// Runs until it is unsubscribed, used up, or its connection is gone.
    pub async fn run(mut self) {
        let (client, replay) = (self.client.clone(), self.replay.clone());
        let end = tokio::select! {
            // In this order: one that was ended before it began sends nothing.
            biased;
            () = replay.ended() => End::Over,
            () = client.closed() => End::Over,
            end = self.follow() => end,
        };
        if let End::Broken(reason) = end {
            self.client.close(reason);
        }
        self.server.stats.replays.fetch_sub(1, Ordering::Relaxed);
    }

    async fn follow(&mut self) -> End {
        let Some(mut readable) = self.server.capture.readable() else { return End::Over };
        // History ends where the log ended when the replay began.
        let history_end = *readable.borrow_and_update();
        if let Err(error) = self.seek().await {
            return self.unreadable(&error);
        }
        let mut status_due = self.client.replay_status.load(Ordering::Relaxed);
        loop {
            self.client.out.wait_for_room(|out| out.pending_replay() < REPLAY_PENDING_BYTES).await;
            let outcome = match self.turn() {
                Ok(outcome) => outcome,
                Err(error) => return self.unreadable(&error),
            };
            if status_due && self.next_seq() > history_end {
                status_due = false;
                self.batch.caught_up(&self.subject, history_end);
            }
            if let Err(reason) = self.batch.send(&self.client) {
                return End::Broken(reason);
            }
            match outcome {
                ReadEnd::CaughtUp => {
                    if readable.changed().await.is_err() {
                        return End::Over;
                    }
                }
                ReadEnd::Budget => tokio::task::yield_now().await,
                ReadEnd::Stopped if self.replay.has_ended() => return End::Over,
                ReadEnd::Stopped => tokio::task::yield_now().await,
            }
        }
    }

    /// Everything that matches below this sequence was delivered.
    fn next_seq(&self) -> u64 {
        self.selection.as_ref().map_or_else(|| self.reader.next_seq(), Selection::next_seq)
    }

    /// Goes to the start, and reads only what matches from there on.
    async fn seek(&mut self) -> Result<(), ReadError> {
        self.seek_start().await?;
        if let Some(log) = self.server.capture.log()
            && !self.batch.everything
            && let Ok(filter) = SubjectFilter::parse(&self.request.filter)
        {
            self.selection = Some(log.select(FilterSet::from(filter), self.reader.next_seq()));
        }
        Ok(())
    }

    async fn seek_start(&mut self) -> Result<(), ReadError> {
        let Some(log) = self.server.capture.log() else { return Ok(()) };
        match self.request.start {
            Start::All => self.reader.seek(1),
            Start::Sequence(seq) => self.reader.seek(seq),
            Start::Time(ns) => self.reader.seek(log.seek_time(ns)?),
            Start::Since(ago) => {
                let ago = i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX);
                self.reader.seek(log.seek_time(clock::unix_ns().saturating_sub(ago))?);
            }
            Start::Last(count) => {
                let from = self.seek_last(count).await?;
                self.reader.seek(from);
            }
        }
        Ok(())
    }

    /// The sequence of the `count`-th matching message from the end.
    async fn seek_last(&mut self, count: u64) -> Result<u64, ReadError> {
        let Some(log) = self.server.capture.log() else { return Ok(1) };
        let newest = log.readable_seq();
        if SubjectFilter::parse(&self.request.filter).is_ok_and(|filter| filter.is_literal()) {
            match log.nth_newest(&self.request.filter, count) {
                Ok(found) => return Ok(found.unwrap_or(newest + 1)),
                Err(error) => tracing::debug!("Replay start is looked for without the index: {error}"),
            }
        }
        let Ok(filter) = SubjectFilter::parse(&self.request.filter) else { return Ok(newest + 1) };
        let mut latest = log.latest(FilterSet::from(filter), count);
        loop {
            if let Some(from) = latest.step(REPLAY_TURN_BYTES)? {
                tracing::trace!(looked_at = latest.bytes_looked_at(), from, "Replay start found");
                return Ok(from);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Reads for a while.
    fn turn(&mut self) -> Result<ReadEnd, ReadError> {
        let Self { reader, selection, batch, request, replay, client, .. } = self;
        let permissions = client.access.permissions();
        let may_receive = |subject: &[u8]| permissions.as_ref().is_none_or(|p| p.may_receive(subject, None));
        let mut again = None;
        let mut look = |visit: Visit<'_>| {
            let record = match visit {
                Visit::Record(record) => record,
                Visit::Lost(lost) => {
                    if report_lost(client, lost) {
                        batch.lost(lost);
                    }
                    return ControlFlow::Continue(());
                }
            };
            let matches = batch.everything || subject::matches(&request.filter, record.subject);
            let wanted = matches && may_receive(record.subject);
            if wanted {
                batch.add(&record);
            }
            // Its page may just have turned out to be unreadable: then neither the match nor the copy is to be believed.
            if !record.is_intact() {
                if wanted {
                    batch.take_back();
                }
                again = Some(record.seq);
                return ControlFlow::Break(());
            }
            if !wanted {
                return ControlFlow::Continue(());
            }
            let (deliver, last) = replay.take_one();
            if !deliver {
                batch.take_back();
            }
            if last || !deliver {
                end(replay, client);
                return ControlFlow::Break(());
            }
            if batch.bytes >= REPLAY_PENDING_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let outcome = match selection {
            Some(selection) => selection.visit(REPLAY_TURN_BYTES, &mut look)?,
            None => reader.visit(REPLAY_TURN_BYTES, &mut look)?,
        };
        if let Some(seq) = again {
            match selection {
                Some(selection) => selection.seek(seq),
                None => reader.seek(seq),
            }
        }
        Ok(outcome.end)
    }

    fn unreadable(&self, error: &ReadError) -> End {
        tracing::error!(client = %self.client, "Replay ended, the log cannot be read: {error}");
        let mut out = Vec::new();
        let told = sublog_protocol::error::ServerError::Other("Replay Ended: the log cannot be read".to_owned());
        encode::err(&mut out, &told);
        self.client.send(&mut out, crate::client::outbound::Kind::Control);
        end(&self.replay, &self.client);
        End::Over
    }
}

/// Ends a replay from this side.
fn end(replay: &Replay, client: &Client) {
    if replay.end() {
        client.stats.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Says so if messages are lost; `false` if there never were any.
fn report_lost(client: &Client, lost: LostRange) -> bool {
    let real = lost.reason != LostReason::NeverWritten;
    if real {
        tracing::error!(client = %client, stream = CAPTURE, "Replay passes over lost messages {} to {}: {:?}",
            lost.first_seq, lost.last_seq, lost.reason);
    }
    real
}

impl Batch {
    fn add(&mut self, record: &RecordRef<'_>) {
        self.tell_lost();
        let before = self.open.len();
        self.before_last = Mark { chunks: self.chunks.len(), open: before, bytes: self.bytes };
        if self.headers {
            self.add_with_headers(record);
        } else {
            encode::msg_head(&mut self.open, record.subject, &self.sid, None, record.payload.len());
        }
        self.bytes += self.open.len() - before + record.payload.len();
        if record.payload.len() >= REPLAY_ZERO_COPY_BYTES {
            self.chunks.push(Bytes::from(std::mem::take(&mut self.open)));
            self.chunks.push(record.share(record.payload));
        } else {
            self.open.extend_from_slice(record.payload);
        }
        self.open.extend_from_slice(encode::CRLF);
        self.msgs += 1;
    }

    /// Undoes the last [`Batch::add`].
    fn take_back(&mut self) {
        let Mark { chunks, open, bytes } = self.before_last;
        if self.chunks.len() > chunks {
            // Its head, and what was gathered before it, became a chunk.
            self.open.clear();
            self.open.extend_from_slice(self.chunks.get(chunks).map_or(&[][..], |chunk| chunk));
            self.chunks.truncate(chunks);
        }
        self.open.truncate(open);
        self.bytes = bytes;
        self.msgs -= 1;
    }

    /// The stored header block with the position's headers first, so that a reader that takes the first match is not
    /// misled by what a publisher wrote.
    fn add_with_headers(&mut self, record: &RecordRef<'_>) {
        let mut position = Vec::with_capacity(192);
        position.extend_from_slice(b"Nats-Stream: ");
        position.extend_from_slice(CAPTURE.as_bytes());
        position.extend_from_slice(b"\r\nNats-Subject: ");
        position.extend_from_slice(record.subject);
        position.extend_from_slice(b"\r\nNats-Sequence: ");
        encode::decimal(&mut position, record.seq);
        position.extend_from_slice(b"\r\nNats-Time-Stamp: ");
        self.stamp.write(&mut position, record.ts_ns);
        position.extend_from_slice(encode::CRLF);

        let (first_line, rest) = match memchr::memmem::find(record.headers, encode::CRLF) {
            Some(end) => record.headers.split_at_checked(end + 2).unwrap_or((b"NATS/1.0\r\n", encode::CRLF)),
            None => (&b"NATS/1.0\r\n"[..], encode::CRLF),
        };
        let header_len = first_line.len() + position.len() + rest.len();
        let total = header_len + record.payload.len();
        encode::hmsg_head(&mut self.open, record.subject, &self.sid, None, header_len, total);
        self.open.extend_from_slice(first_line);
        self.open.extend_from_slice(&position);
        self.open.extend_from_slice(rest);
    }

    /// Tells a client that asked for it that what follows is new.
    fn caught_up(&mut self, subject: &[u8], seq: u64) {
        self.tell_lost();
        let mut block = headers::Builder::with_status(204, "Caught Up");
        block.add(b"Nats-Sequence", seq.to_string().as_bytes());
        let block = block.finish();
        encode::hmsg(&mut self.open, subject, &self.sid, None, block.len(), &block);
    }

    /// Notes messages that cannot be read any more, whatever their subjects were, for a client that asked to be told.
    fn lost(&mut self, lost: LostRange) {
        match &mut self.lost {
            _ if self.status_subject.is_empty() => {}
            Some((_, last_seq)) if last_seq.checked_add(1) == Some(lost.first_seq) => *last_seq = lost.last_seq,
            _ => {
                self.tell_lost();
                self.lost = Some((lost.first_seq, lost.last_seq));
            }
        }
    }

    fn tell_lost(&mut self) {
        let Some((first_seq, last_seq)) = self.lost.take() else { return };
        let mut block = headers::Builder::with_status(410, "Lost Messages");
        block.add(b"Nats-Stream", CAPTURE.as_bytes());
        block.add(b"Nats-First-Sequence", first_seq.to_string().as_bytes());
        block.add(b"Nats-Last-Sequence", last_seq.to_string().as_bytes());
        let block = block.finish();
        encode::hmsg(&mut self.open, &self.status_subject, &self.sid, None, block.len(), &block);
    }

    fn send(&mut self, client: &Client) -> Result<(), CloseReason> {
        self.tell_lost();
        client.stats.out_msgs.fetch_add(std::mem::take(&mut self.msgs), Ordering::Relaxed);
        client.stats.out_bytes.fetch_add(std::mem::take(&mut self.bytes) as u64, Ordering::Relaxed);
        if !self.open.is_empty() {
            self.chunks.push(Bytes::from(std::mem::take(&mut self.open)));
        }
        if self.chunks.is_empty() { Ok(()) } else { client.out.send_chunks(&mut self.chunks) }
    }
}

#[cfg(test)]
mod tests {
    use sublog_storage::{Log, LogOptions, NoObserver, RealDisk, RecordBatch};

    use super::*;

    fn batch() -> Batch {
        Batch {
            sid: b"1".as_slice().into(),
            headers: true,
            everything: true,
            chunks: Vec::new(),
            open: Vec::new(),
            bytes: 0,
            msgs: 0,
            before_last: Mark::default(),
            lost: None,
            status_subject: Box::default(),
            stamp: rfc3339::Stamp::default(),
        }
    }

    fn content(batch: &Batch) -> (Vec<u8>, usize, u64) {
        let mut all = batch.chunks.concat();
        all.extend_from_slice(&batch.open);
        (all, batch.bytes, batch.msgs)
    }

    #[test]
    fn a_delivery_that_is_taken_back_was_never_there() {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = Log::open(RealDisk::shared(), dir.path(), LogOptions::default(), Arc::new(NoObserver)).unwrap();
        let mut records = RecordBatch::new();
        for len in [3, REPLAY_ZERO_COPY_BYTES, 10, 5 * REPLAY_ZERO_COPY_BYTES, 0] {
            records.push(1, b"a.b", b"", &vec![b'x'; len]).unwrap();
        }
        log.append(&mut records).unwrap();
        log.sync_now().unwrap();
        let (mut steady, mut wavering) = (batch(), batch());
        let mut seen = 0;
        log.reader()
            .visit(usize::MAX, &mut |visit| {
                let Visit::Record(record) = visit else { panic!("{visit:?}") };
                steady.add(&record);
                wavering.add(&record);
                wavering.take_back();
                wavering.add(&record);
                assert_eq!(content(&wavering), content(&steady), "record {}", record.seq);
                seen += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!((seen, steady.msgs), (5, 5));
        log.close().unwrap();
    }
}

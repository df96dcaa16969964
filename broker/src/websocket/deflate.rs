//! permessage-deflate (RFC 7692), without memory from one message to the next in either direction.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What ends every flushed block, and is left out on the wire.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Room that is made for output at once.
const STEP: usize = 4096;

/// Inflates messages as they come.
pub struct Inflater {
    state: Decompress,
    /// Compressed bytes that are not inflated yet; `at` of them are.
    waiting: Vec<u8>,
    at: usize,
    /// Bytes of the message so far.
    total: usize,
    /// The most a message may have.
    most: usize,
}

/// What a message that cannot be inflated is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InflateError {
    /// It is malformed.
    Malformed,
    /// It has more bytes than a message may have.
    TooLarge,
}

impl Inflater {
    /// For messages of at most `most` bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { state: Decompress::new(false), waiting: Vec::new(), at: 0, total: 0, most }
    }

    /// Takes a piece of a message; [`inflate`](Self::inflate) before the next one.
    pub fn feed(&mut self, piece: &[u8]) {
        self.waiting.extend_from_slice(piece);
    }

    /// The message has ended: its last bytes are those that are not sent.
    pub fn end(&mut self) {
        self.waiting.extend_from_slice(&TAIL);
    }

    /// Appends to `out` what there is room for; true when nothing waits any more.
    ///
    /// # Errors
    /// Why there is no more.
    pub fn inflate(&mut self, out: &mut Vec<u8>) -> Result<bool, InflateError> {
        loop {
            if out.len() == out.capacity() {
                return Ok(false);
            }
            let (before_in, before_out) = (self.state.total_in(), out.len());
            let rest = self.waiting.get(self.at..).unwrap_or_default();
            let status =
                self.state.decompress_vec(rest, out, FlushDecompress::Sync).map_err(|_| InflateError::Malformed)?;
            let taken = usize::try_from(self.state.total_in() - before_in).unwrap_or(0);
            self.at += taken;
            self.total += out.len() - before_out;
            if self.total > self.most {
                return Err(InflateError::TooLarge);
            }
            if status == Status::StreamEnd {
                // The client ended its stream where a flush would do; what follows is a stream of its own.
                self.state.reset(false);
            } else if taken == 0 && out.len() == before_out {
                self.waiting.clear();
                self.at = 0;
                return Ok(true);
            }
        }
    }

    /// The next message begins.
    pub fn next_message(&mut self) {
        self.state.reset(false);
        self.total = 0;
    }
}

/// Appends a message, compressed, to `out`.
pub fn deflate(pieces: &[bytes::Bytes], out: &mut Vec<u8>) {
    let start = out.len();
    let mut state = Compress::new(Compression::fast(), false);
    for piece in pieces {
        let mut rest = piece.as_ref();
        while !rest.is_empty() {
            out.reserve(STEP.max(rest.len() / 4));
            let before = state.total_in();
            if state.compress_vec(rest, out, FlushCompress::None).is_err() {
                break;
            }
            rest = rest.get(usize::try_from(state.total_in() - before).unwrap_or(0)..).unwrap_or_default();
        }
    }
    loop {
        out.reserve(STEP);
        let room = out.capacity() - out.len();
        let before = out.len();
        if state.compress_vec(&[], out, FlushCompress::Sync).is_err() || out.len() - before < room {
            break;
        }
    }
    if out.get(start..).is_some_and(|made| made.ends_with(&TAIL)) {
        out.truncate(out.len() - TAIL.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflated(compressed: &[u8], step: usize, room: usize, most: usize) -> Result<Vec<u8>, InflateError> {
        let mut inflater = Inflater::new(most);
        let mut all = Vec::new();
        for message in 0..2 {
            let mut drain = |inflater: &mut Inflater| -> Result<(), InflateError> {
                loop {
                    let mut out = Vec::with_capacity(room);
                    let done = inflater.inflate(&mut out)?;
                    if message == 0 {
                        all.extend_from_slice(&out);
                    }
                    if done {
                        return Ok(());
                    }
                }
            };
            for piece in compressed.chunks(step) {
                inflater.feed(piece);
                drain(&mut inflater)?;
            }
            inflater.end();
            drain(&mut inflater)?;
            inflater.next_message();
        }
        Ok(all)
    }

    #[test]
    fn what_goes_in_comes_out() {
        for size in [0, 1, 100, 5000, 100_000, 1_000_000] {
            let text: Vec<u8> = (0..size).map(|n: usize| (n * n / 7 % 251) as u8).collect();
            let (one, two) = text.split_at(size / 3);
            let mut out = b"before".to_vec();
            deflate(&[bytes::Bytes::copy_from_slice(one), bytes::Bytes::copy_from_slice(two)], &mut out);
            let compressed = out.split_off(6);
            assert_eq!(out, b"before");
            for (step, room) in [(1 << 20, 1 << 20), (7, 64), (1000, 333)] {
                if size <= 100_000 || step > 7 {
                    assert!(inflated(&compressed, step, room, size).unwrap() == text, "{size} {step} {room}");
                }
            }
            if size > 0 {
                assert_eq!(inflated(&compressed, 1000, 4096, size - 1), Err(InflateError::TooLarge));
            }
        }
    }

    #[test]
    fn what_is_no_deflate_is_refused() {
        assert_eq!(inflated(&[0xff; 20], 20, 64, 1000), Err(InflateError::Malformed));
    }
}

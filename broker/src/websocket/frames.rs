//! Frames: out of a stream of bytes, and into one.

use bytes::Bytes;

use super::deflate::{self, InflateError, Inflater};

const FIN: u8 = 0x80;
/// First of the reserved bits: the message is compressed.
const COMPRESSED: u8 = 0x40;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// The most that a control frame holds.
const CONTROL_MAX: usize = 125;
/// No frame is larger: what one client sends with one write stays far below.
const FRAME_MAX: u64 = 256 << 20;
/// Compressed bytes that are unmasked at once.
const PIECE: usize = 8 * 1024;
/// Below this, compressing costs more than it saves.
const COMPRESS_FROM: usize = 64;

/// Why a connection ends, as a close frame says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameError {
    /// Its number.
    pub code: u16,
    /// Its text.
    pub text: &'static str,
}

/// RFC 6455 was violated.
pub const PROTOCOL_ERROR: u16 = 1002;
/// A message is larger than it may be.
pub const TOO_BIG: u16 = 1009;

const fn wrong(text: &'static str) -> FrameError {
    FrameError { code: PROTOCOL_ERROR, text }
}

/// What a control frame asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// A pong with these bytes.
    Ping(Vec<u8>),
    /// The end, with this code.
    Close(Option<u16>),
}

/// The frame under way.
struct Frame {
    opcode: u8,
    fin: bool,
    left: u64,
    mask: [u8; 4],
    at: usize,
}

/// Takes the bytes of a client's frames.
pub struct Reader {
    /// Clients mask, unless it was agreed that they do not.
    masked: bool,
    compression: bool,
    head: Vec<u8>,
    frame: Option<Frame>,
    /// A message is under way; whether it is compressed.
    message: Option<bool>,
    control: Vec<u8>,
    inflater: Option<Box<Inflater>>,
    /// The compressed message has ended, but for what waits in the inflater.
    ending: bool,
    message_max: usize,
}

impl Reader {
    /// For a client that agreed to these. A compressed message may have `message_max` bytes.
    #[must_use]
    pub fn new(masked: bool, compression: bool, message_max: usize) -> Self {
        Self {
            masked,
            compression,
            head: Vec::new(),
            frame: None,
            message: None,
            control: Vec::new(),
            inflater: None,
            ending: false,
            message_max,
        }
    }

    /// Gives memory back that is not needed between messages.
    pub fn shrink(&mut self) {
        if self.message.is_none() {
            self.inflater = None;
        }
    }

    /// Takes from `input`, and appends what is in data frames to `out`, as much as there is room for. Ends early after a
    /// control frame. Returns how much of `input` was taken.
    ///
    /// # Errors
    /// The connection must end.
    pub fn read(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(usize, Option<Control>), FrameError> {
        let mut taken = 0;
        loop {
            if !self.flush(out)? {
                return Ok((taken, None));
            }
            let rest = input.get(taken..).unwrap_or_default();
            let Some(frame) = &mut self.frame else {
                let Some(byte) = rest.first() else { return Ok((taken, None)) };
                self.head.push(*byte);
                taken += 1;
                self.begin()?;
                if let Some(control) = self.finish_empty()? {
                    return Ok((taken, Some(control)));
                }
                continue;
            };
            if rest.is_empty() {
                return Ok((taken, None));
            }
            let left = usize::try_from(frame.left).unwrap_or(usize::MAX);
            let is_control = frame.opcode >= CLOSE;
            let compressed = self.message == Some(true) && !is_control;
            let room = match (is_control, compressed) {
                (true, _) => CONTROL_MAX,
                (_, true) => PIECE,
                _ => out.capacity() - out.len(),
            };
            if room == 0 {
                return Ok((taken, None));
            }
            let take = rest.len().min(left).min(room);
            let piece = rest.get(..take).unwrap_or_default();
            let target = match (is_control, compressed) {
                (true, _) => &mut self.control,
                (_, true) => &mut Vec::with_capacity(take),
                _ => &mut *out,
            };
            let start = target.len();
            target.extend_from_slice(piece);
            unmask(target.get_mut(start..).unwrap_or_default(), frame.mask, frame.at);
            if compressed && let Some(inflater) = &mut self.inflater {
                inflater.feed(target);
            }
            frame.at = (frame.at + take) % 4;
            frame.left -= take as u64;
            taken += take;
            if frame.left == 0
                && let Some(control) = self.finish()?
            {
                return Ok((taken, Some(control)));
            }
        }
    }

    /// Inflates what waits; false when `out` is full before that.
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<bool, FrameError> {
        let Some(inflater) = self.inflater.as_mut().filter(|_| self.message == Some(true) || self.ending) else {
            return Ok(true);
        };
        let done = inflater.inflate(out).map_err(|error| match error {
            InflateError::Malformed => wrong("compressed message is malformed"),
            InflateError::TooLarge => FrameError { code: TOO_BIG, text: "message too big" },
        })?;
        if done && self.ending {
            self.ending = false;
            inflater.next_message();
        }
        Ok(done)
    }

    /// Begins a frame if its head is whole.
    fn begin(&mut self) -> Result<(), FrameError> {
        let &[first, second, ref rest @ ..] = self.head.as_slice() else { return Ok(()) };
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let masked = second & MASKED != 0;
        if rest.is_empty() && self.head.len() == 2 {
            self.admit(first, second & 0x7f, masked)?;
        }
        if rest.len() < extended + if masked { 4 } else { 0 } {
            return Ok(());
        }
        let (length, mask) = rest.split_at_checked(extended).unwrap_or_default();
        let left = match extended {
            0 => u64::from(second & 0x7f),
            _ => length.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        if left > FRAME_MAX {
            return Err(FrameError { code: TOO_BIG, text: "frame too big" });
        }
        let mask = mask.first_chunk().copied().unwrap_or_default();
        let opcode = first & 0x0f;
        if opcode < CLOSE && opcode != CONTINUATION {
            let compressed = first & COMPRESSED != 0;
            self.message = Some(compressed);
            if compressed && self.inflater.is_none() {
                self.inflater = Some(Box::new(Inflater::new(self.message_max)));
            }
        }
        self.frame = Some(Frame { opcode, fin: first & FIN != 0, left, mask, at: 0 });
        self.head.clear();
        Ok(())
    }

    /// Whether a frame may begin like this.
    fn admit(&self, first: u8, length: u8, masked: bool) -> Result<(), FrameError> {
        let (opcode, fin, reserved) = (first & 0x0f, first & FIN != 0, first & RESERVED);
        if masked != self.masked {
            return Err(wrong("wrong masking"));
        }
        let compressed = self.compression && matches!(opcode, TEXT | BINARY) && reserved == COMPRESSED;
        if reserved != 0 && !compressed {
            return Err(wrong("reserved bits are set"));
        }
        match opcode {
            TEXT | BINARY if self.message.is_some() => Err(wrong("new message before the end of the last")),
            CONTINUATION if self.message.is_none() => Err(wrong("continuation of nothing")),
            CONTINUATION | TEXT | BINARY => Ok(()),
            CLOSE | PING | PONG if !fin => Err(wrong("control frame in pieces")),
            CLOSE | PING | PONG if usize::from(length) > CONTROL_MAX => Err(wrong("control frame too big")),
            CLOSE | PING | PONG => Ok(()),
            _ => Err(wrong("unknown opcode")),
        }
    }

    fn finish_empty(&mut self) -> Result<Option<Control>, FrameError> {
        if self.frame.as_ref().is_some_and(|frame| frame.left == 0) { self.finish() } else { Ok(None) }
    }

    /// A frame has ended.
    fn finish(&mut self) -> Result<Option<Control>, FrameError> {
        let Some(frame) = self.frame.take() else { return Ok(None) };
        let content = std::mem::take(&mut self.control);
        match frame.opcode {
            PING => Ok(Some(Control::Ping(content))),
            CLOSE => match content.as_slice() {
                [] => Ok(Some(Control::Close(None))),
                [_] => Err(wrong("close frame of one byte")),
                &[high, low, ref text @ ..] => {
                    let code = u16::from(high) << 8 | u16::from(low);
                    let known = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
                    if !known || std::str::from_utf8(text).is_err() {
                        return Err(wrong("malformed close frame"));
                    }
                    Ok(Some(Control::Close(Some(code))))
                }
            },
            PONG => Ok(None),
            _ => {
                if frame.fin
                    && let Some(true) = self.message.take()
                    && let Some(inflater) = &mut self.inflater
                {
                    inflater.end();
                    self.ending = true;
                }
                Ok(None)
            }
        }
    }
}

fn unmask(bytes: &mut [u8], mask: [u8; 4], at: usize) {
    if mask == [0; 4] {
        return;
    }
    let mut turned = mask;
    turned.rotate_left(at % 4);
    for chunk in bytes.chunks_mut(4) {
        for (byte, key) in chunk.iter_mut().zip(turned) {
            *byte ^= key;
        }
    }
}

/// Makes the server's frames.
#[derive(Debug, Default)]
pub struct Writer {
    compression: bool,
    /// Answers the last ping; earlier ones need no answer any more.
    pong: Option<Vec<u8>>,
    close: Option<Vec<u8>>,
    closed: bool,
}

impl Writer {
    /// For a client that agreed to this.
    #[must_use]
    pub fn new(compression: bool) -> Self {
        Self { compression, ..Self::default() }
    }

    /// Answers a ping with the next frames.
    pub fn pong(&mut self, content: Vec<u8>) {
        self.pong = Some(content);
    }

    /// Ends the stream after the next frames. The first reason counts.
    pub fn close(&mut self, code: Option<u16>, text: &str) {
        if self.close.is_none() && !self.closed {
            let mut content: Vec<u8> =
                code.map(|code| vec![(code >> 8) as u8, (code & 0xff) as u8]).unwrap_or_default();
            if code.is_some() {
                content.extend_from_slice(text.as_bytes().get(..text.len().min(CONTROL_MAX - 2)).unwrap_or_default());
            }
            self.close = Some(content);
        }
    }

    /// Appends what there is to say to `out`: a pong, `pieces` as one message, the end.
    pub fn write(&mut self, pieces: &[Bytes], out: &mut Vec<u8>) {
        if self.closed {
            return;
        }
        if let Some(content) = self.pong.take() {
            head(PONG | FIN, content.len(), out);
            out.extend_from_slice(&content);
        }
        let total: usize = pieces.iter().map(Bytes::len).sum();
        if total >= COMPRESS_FROM && self.compression {
            let mut compressed = Vec::new();
            deflate::deflate(pieces, &mut compressed);
            head(BINARY | FIN | COMPRESSED, compressed.len(), out);
            out.extend_from_slice(&compressed);
        } else if total > 0 {
            out.reserve(total + 10);
            head(BINARY | FIN, total, out);
            pieces.iter().for_each(|piece| out.extend_from_slice(piece));
        }
        if let Some(content) = self.close.take() {
            head(CLOSE | FIN, content.len(), out);
            out.extend_from_slice(&content);
            self.closed = true;
        }
    }
}

fn head(first: u8, length: usize, out: &mut Vec<u8>) {
    out.push(first);
    let length = length as u64;
    let digits = match length {
        0..126 => 0,
        126..0x1_0000 => 2,
        _ => 8,
    };
    out.push(match digits {
        0 => (length & 0x7f) as u8,
        2 => 126,
        _ => 127,
    });
    for digit in (0..digits).rev() {
        out.push((length >> (8 * digit) & 0xff) as u8);
    }
}

#[cfg(test)]
mod tests;

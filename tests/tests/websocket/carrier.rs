//! A client's end of a WebSocket: an upgrade, frames with masks, and bytes of frames taken apart.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use sublog_tests::RawClient;
use sublog_tests::client::Carrier;

use crate::support::tcp;

pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;
const COMPRESSED: u8 = 0x40;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// See the module.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Box<dyn Carrier>,
    /// What the server answered to the upgrade.
    pub(crate) answer: String,
    /// Frames of the server that were no data.
    pub(crate) controls: Vec<(u8, Vec<u8>)>,
    waiting: Vec<u8>,
    /// Data frames that were compressed.
    pub(crate) compressed: usize,
}

impl Socket {
    /// Upgrades a connection; `headers` are added to the request.
    pub(crate) fn connect(address: SocketAddr, headers: &str) -> Result<Self, String> {
        Self::over(Box::new(tcp(address)), headers)
    }

    pub(crate) fn over(mut stream: Box<dyn Carrier>, headers: &str) -> Result<Self, String> {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: server:80\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        stream.flush().unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => answer.push(byte[0]),
                other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&answer)),
            }
        }
        let answer = String::from_utf8(answer).unwrap();
        if !answer.starts_with("HTTP/1.1 101 ") {
            let mut body = String::new();
            stream.read_to_string(&mut body).unwrap();
            return Err(answer + &body);
        }
        Ok(Self { stream, answer, controls: Vec::new(), waiting: Vec::new(), compressed: 0 })
    }

    /// A client of NATS over it, that has read INFO.
    pub(crate) fn client(self) -> RawClient {
        RawClient::over(Box::new(self)).unwrap()
    }

    /// Sends one frame.
    pub(crate) fn frame(&mut self, first: u8, content: &[u8]) {
        let mut out = vec![first];
        match content.len() {
            length @ 0..126 => out.push(0x80 | length as u8),
            length @ 126..65_536 => out.extend([0x80 | 126, (length >> 8) as u8, length as u8]),
            length => {
                out.extend([0x80 | 127, 0, 0, 0, 0]);
                out.extend((0..4).rev().map(|digit| (length >> (8 * digit)) as u8));
            }
        }
        out.extend(MASK);
        out.extend(content.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
        self.raw(&out);
    }

    /// Sends one compressed message.
    pub(crate) fn compress(&mut self, content: &[u8]) {
        let mut state = flate2::Compress::new(flate2::Compression::fast(), false);
        let mut out = Vec::with_capacity(content.len() + 1024);
        state.compress_vec(content, &mut out, flate2::FlushCompress::Sync).unwrap();
        assert!(out.len() < out.capacity() && out.ends_with(&[0, 0, 0xff, 0xff]));
        out.truncate(out.len() - 4);
        self.frame(BINARY | COMPRESSED, &out);
    }

    /// Sends bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    /// The next frame; `None` at the end.
    pub(crate) fn next(&mut self) -> std::io::Result<Option<(u8, Vec<u8>)>> {
        let mut head = [0; 2];
        if self.stream.read(&mut head[..1])? == 0 {
            return Ok(None);
        }
        self.stream.read_exact(&mut head[1..])?;
        assert_eq!(head[1] & 0x80, 0, "a server masks nothing");
        let extended = match head[1] {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mut digits = [0; 8];
        self.stream.read_exact(&mut digits[..extended])?;
        let length = match extended {
            0 => usize::from(head[1]),
            _ => digits[..extended].iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)),
        };
        let mut content = vec![0; length];
        self.stream.read_exact(&mut content)?;
        if head[0] & COMPRESSED != 0 {
            self.compressed += 1;
            content.extend([0, 0, 0xff, 0xff]);
            let mut state = flate2::Decompress::new(false);
            let mut out = Vec::with_capacity(1 << 20);
            state.decompress_vec(&content, &mut out, flate2::FlushDecompress::Sync).unwrap();
            return Ok(Some((head[0] & !COMPRESSED, out)));
        }
        Ok(Some((head[0], content)))
    }
}

impl Read for Socket {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        while self.waiting.is_empty() {
            match self.next()? {
                None => return Ok(0),
                Some((BINARY, content)) => self.waiting = content,
                Some((CLOSE, content)) => {
                    self.controls.push((CLOSE, content));
                    return Ok(0);
                }
                Some(other) => self.controls.push(other),
            }
        }
        let take = out.len().min(self.waiting.len());
        out[..take].copy_from_slice(&self.waiting[..take]);
        self.waiting.drain(..take);
        Ok(take)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.frame(BINARY, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

impl Carrier for Socket {
    fn socket(&self) -> &TcpStream {
        self.stream.socket()
    }
}

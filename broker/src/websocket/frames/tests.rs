//! Frames against every split, every violation, and noise.

use super::*;

/// A client's frame.
fn frame(first: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    head(first, content.len(), &mut out);
    out[1] |= MASKED;
    let mask = [1, 2, 3, 250];
    out.extend_from_slice(&mask);
    out.extend(content.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// Everything that is in `input`, read in steps of `step` with `room` for the output.
fn read_all(input: &[u8], step: usize, room: usize) -> Result<(Vec<u8>, Vec<Control>), FrameError> {
    let mut reader = Reader::new(true, true, 1 << 20);
    let (mut all, mut controls) = (Vec::new(), Vec::new());
    for piece in input.chunks(step.max(1)) {
        let mut at = 0;
        loop {
            let mut out = Vec::with_capacity(room);
            let (taken, control) = reader.read(&piece[at..], &mut out)?;
            at += taken;
            let nothing = taken == 0 && out.is_empty() && control.is_none();
            all.extend_from_slice(&out);
            controls.extend(control);
            if nothing {
                break;
            }
        }
        assert_eq!(at, piece.len());
    }
    Ok((all, controls))
}

fn compressed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    deflate::deflate(&[Bytes::copy_from_slice(content)], &mut out);
    out
}

#[test]
fn any_split_gives_the_same() {
    let long: Vec<u8> = (0..70_000).map(|n: usize| (n % 253) as u8).collect();
    let packed = compressed(&long);
    let (one, two) = packed.split_at(packed.len() / 2);
    let mut input = frame(BINARY | FIN, b"first ");
    input.extend(frame(TEXT, b"in "));
    input.extend(frame(PING | FIN, b"are you there"));
    input.extend(frame(CONTINUATION | FIN, b"pieces "));
    input.extend(frame(BINARY | FIN, &long[..300]));
    input.extend(frame(BINARY | FIN, &long));
    input.extend(frame(BINARY | FIN, b""));
    input.extend(frame(BINARY | COMPRESSED, one));
    input.extend(frame(PONG | FIN, b""));
    input.extend(frame(CONTINUATION | FIN, two));
    input.extend(frame(BINARY | FIN | COMPRESSED, &compressed(b"")));
    input.extend(frame(BINARY | FIN | COMPRESSED, &compressed(b" small")));
    input.extend(frame(BINARY | FIN, b" end"));
    input.extend(frame(CLOSE | FIN, &[3, 232, b'b', b'y', b'e']));
    let mut expected = b"first in pieces ".to_vec();
    for part in [&long[..300], &long, &long, b" small", b" end"] {
        expected.extend_from_slice(part);
    }
    let controls = vec![Control::Ping(b"are you there".to_vec()), Control::Close(Some(1000))];
    for (step, room) in [(usize::MAX, 1 << 20), (1, 4096), (7, 13), (4096, 1), (65_536, 4096)] {
        let (all, seen) = read_all(&input, step.min(input.len()), room).unwrap();
        assert!(all == expected, "{step} {room}: {} of {} bytes", all.len(), expected.len());
        assert_eq!(seen, controls);
    }
}

#[test]
fn violations() {
    let masked = |mut bytes: Vec<u8>| {
        bytes[1] &= !MASKED;
        bytes
    };
    let mut huge = vec![BINARY | FIN, MASKED | 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    huge.extend([0; 4]);
    let bomb = compressed(&vec![b'x'; (1 << 20) + 1]);
    assert!(bomb.len() < 8000);
    for (bytes, code, text) in [
        (masked(frame(BINARY | FIN, b"a")), PROTOCOL_ERROR, "wrong masking"),
        (frame(BINARY | FIN | 0x20, b"a"), PROTOCOL_ERROR, "reserved bits are set"),
        (frame(PING | FIN | COMPRESSED, b"a"), PROTOCOL_ERROR, "reserved bits are set"),
        (frame(3 | FIN, b"a"), PROTOCOL_ERROR, "unknown opcode"),
        (frame(11 | FIN, b"a"), PROTOCOL_ERROR, "unknown opcode"),
        (frame(PING, b"a"), PROTOCOL_ERROR, "control frame in pieces"),
        (frame(PING | FIN, &[0; 126]), PROTOCOL_ERROR, "control frame too big"),
        (frame(CONTINUATION | FIN, b"a"), PROTOCOL_ERROR, "continuation of nothing"),
        ([frame(BINARY, b"a"), frame(BINARY, b"b")].concat(), PROTOCOL_ERROR, "new message before the end of the last"),
        (frame(CLOSE | FIN, &[3]), PROTOCOL_ERROR, "close frame of one byte"),
        (frame(CLOSE | FIN, &[0, 5]), PROTOCOL_ERROR, "malformed close frame"),
        (frame(CLOSE | FIN, &[3, 232, 0xff]), PROTOCOL_ERROR, "malformed close frame"),
        (frame(BINARY | FIN | COMPRESSED, &[0xff; 9]), PROTOCOL_ERROR, "compressed message is malformed"),
        (huge, TOO_BIG, "frame too big"),
        (frame(BINARY | FIN | COMPRESSED, &bomb), TOO_BIG, "message too big"),
    ] {
        for step in [1, bytes.len()] {
            assert_eq!(read_all(&bytes, step, 4096), Err(FrameError { code, text }), "{text}");
        }
    }
    // Without an agreement on it, nothing is compressed.
    let mut reader = Reader::new(true, false, 100);
    let wrong = reader.read(&frame(BINARY | FIN | COMPRESSED, b"a"), &mut Vec::with_capacity(10));
    assert_eq!(wrong.unwrap_err().text, "reserved bits are set");
    // Where it was agreed that nothing is masked, what is masked is wrong.
    let mut reader = Reader::new(false, false, 100);
    let mut out = Vec::with_capacity(10);
    reader.read(&[BINARY | FIN, 1, b'a'], &mut out).unwrap();
    assert_eq!(out, b"a");
    assert!(reader.read(&frame(BINARY | FIN, b"a"), &mut out).is_err());
}

#[test]
fn no_input_is_a_panic_or_endless() {
    let mut state = 88172645463325252_u64;
    for _ in 0..20_000 {
        let mut bytes = Vec::new();
        for _ in 0..24 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.push((state >> 32) as u8);
        }
        // Half of them begin as frames do.
        if bytes[0] & 1 == 0 {
            bytes[0] = [0x82, 0xc2, 0x02, 0x80, 0x89, 0x88][usize::from(bytes[1]) % 6];
            bytes[1] = MASKED | (bytes[2] % 20);
        }
        let whole = read_all(&bytes, bytes.len(), 64);
        assert_eq!(read_all(&bytes, 1, 64).is_ok(), whole.is_ok());
    }
}

#[test]
fn what_the_server_says() {
    let mut writer = Writer::new(true);
    let mut out = Vec::new();
    writer.pong(b"old".to_vec());
    writer.pong(b"new".to_vec());
    writer.write(&[Bytes::from_static(b"ab"), Bytes::from_static(b"c")], &mut out);
    assert_eq!(out, b"\x8a\x03new\x82\x03abc");
    out.clear();
    writer.write(&[Bytes::new()], &mut out);
    assert!(out.is_empty(), "nothing to say is no frame");
    let long = vec![b'x'; 70_000];
    writer.write(&[Bytes::from(long.clone())], &mut out);
    assert!(out[0] == 0xc2 && out.len() < 1000);
    out.clear();
    let mut plain = Writer::new(false);
    plain.write(&[Bytes::from(long.clone())], &mut out);
    assert_eq!(out[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
    assert_eq!(out[10..], long);
    out.clear();
    plain.close(Some(1001), "going");
    plain.close(Some(1002), "later");
    plain.write(&[Bytes::from_static(b"z")], &mut out);
    assert_eq!(out, b"\x82\x01z\x88\x07\x03\xe9going");
    out.clear();
    plain.write(&[Bytes::from_static(b"z")], &mut out);
    assert!(out.is_empty(), "after the end nothing comes");
}

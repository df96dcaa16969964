//! Messages in frames: of every size, in pieces, compressed, between pings; and what ends a connection.

use sublog_tests::client::CONNECT;
use sublog_tests::clock;

use crate::carrier::{BINARY, CLOSE, PING, PONG, Socket};
use crate::{client, server};

/// All data up to and with `end`, and what else came.
fn until(socket: &mut Socket, end: &str) -> (String, Vec<(u8, Vec<u8>)>) {
    let (mut text, mut controls) = (String::new(), Vec::new());
    while !text.contains(end) {
        match socket.next().unwrap().expect("more frames") {
            (BINARY, content) => text.push_str(std::str::from_utf8(&content).unwrap()),
            other => controls.push(other),
        }
    }
    (text, controls)
}

/// What ends the stream.
fn last_frame(socket: &mut Socket) -> (u16, String) {
    loop {
        if let (CLOSE, content) = socket.next().unwrap().expect("a close frame before the end") {
            let code = u16::from(content[0]) << 8 | u16::from(content[1]);
            return (code, String::from_utf8(content[2..].to_vec()).unwrap());
        }
    }
}

#[test]
fn messages_of_every_size_between_clients_of_both_kinds() {
    let (server, address, _folder) = server("", "");
    let (mut one, mut two) = (client(address), server.client());
    one.subscribe("to.one", "1");
    one.sync();
    two.subscribe("to.two", "1");
    two.sync();
    for size in [0, 1, 60, 100, 126, 4000, 65_530, 65_536, 70_000, 1_000_000] {
        let payload: Vec<u8> = (0..size).map(|n: usize| (n % 251) as u8).collect();
        one.publish("to.two", &payload);
        two.publish("to.one", &payload);
        assert!(two.message().payload == payload && one.message().payload == payload, "{size}");
    }
    let connections = server.monitor("/connz")["connections"].clone();
    let types: Vec<&str> =
        connections.as_array().unwrap().iter().map(|connection| connection["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["websocket", "nats"]);
}

#[test]
fn operations_in_pieces_with_pings_between_them() {
    let (_server, address, _folder) = server("", "");
    let mut socket = Socket::connect(address, "").unwrap();
    until(&mut socket, "\r\n");
    socket.frame(0x02, b"CONNECT {\"verb");
    socket.frame(PING, b"one");
    socket.frame(0x00, b"ose\":false}\r\nSUB a 1\r\nPUB a");
    socket.frame(PING, b"two");
    socket.frame(0x80, b" 2\r\nhi\r\nPING\r\n");
    let (text, controls) = until(&mut socket, "PONG");
    assert_eq!(text, "MSG a 1 2\r\nhi\r\nPONG\r\n");
    assert!(controls.contains(&(PONG, b"two".to_vec())), "{controls:?}");
    // A ping alone is answered without anything else to say.
    socket.frame(PING, b"three");
    assert_eq!(socket.next().unwrap(), Some((PONG, b"three".to_vec())));
    // Bytes one by one.
    for byte in b"PING\r\n" {
        socket.frame(BINARY, &[*byte]);
    }
    assert_eq!(until(&mut socket, "\n").0, "PONG\r\n");
    socket.frame(CLOSE, &[3, 232]);
    assert_eq!(last_frame(&mut socket), (1000, String::new()));
    assert_eq!(socket.next().unwrap(), None);
}

#[test]
fn compression_in_both_directions() {
    let (_server, address, _folder) = server("compression: true", "");
    let mut socket = Socket::connect(address, "Sec-WebSocket-Extensions: permessage-deflate\r\n").unwrap();
    assert!(socket.answer.contains("permessage-deflate; server_no_context_takeover; client_no_context_takeover"));
    until(&mut socket, "\r\n");
    let text = "word ".repeat(20_000);
    socket.compress(format!("CONNECT {CONNECT}\r\nSUB a 1\r\nPUB a {}\r\n{text}\r\nPING\r\n", text.len()).as_bytes());
    let (seen, _) = until(&mut socket, "PONG");
    assert_eq!(seen, format!("MSG a 1 {}\r\n{text}\r\nPONG\r\n", text.len()));
    assert!(socket.compressed > 0);
    // Who does not ask for it gets none.
    let mut plain = Socket::connect(address, "").unwrap();
    assert!(!plain.answer.contains("permessage-deflate"));
    plain.compress(b"PING\r\n");
    assert_eq!(last_frame(&mut plain), (1002, "reserved bits are set".to_owned()));
}

#[test]
fn a_bomb_before_authentication_costs_little() {
    let (server, address, _folder) = server("compression: true", "authorization { user: u, password: p, timeout: 20 }");
    let before = server.resident_bytes();
    // Half a gigabyte of blanks in some hundred kilobytes, from ten clients. A block that ends with a full flush can be repeated.
    let mut state = flate2::Compress::new(flate2::Compression::best(), false);
    let mut block = Vec::with_capacity(1 << 20);
    state.compress_vec(&vec![b' '; 1 << 20], &mut block, flate2::FlushCompress::Full).unwrap();
    assert!(state.total_in() == 1 << 20 && block.len() < 4096);
    let bomb = block.repeat(500);
    let mut sockets: Vec<Socket> = (0..10)
        .map(|_| Socket::connect(address, "Sec-WebSocket-Extensions: permessage-deflate\r\n").unwrap())
        .collect();
    for socket in &mut sockets {
        until(socket, "\r\n");
        let mut head = vec![BINARY | 0x40, 0x80 | 127, 0, 0, 0, 0];
        head.extend((0..4).rev().map(|digit| (bomb.len() >> (8 * digit)) as u8));
        head.extend([0; 4]);
        head.extend(&bomb);
        // The server may be gone before it has taken all.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| socket.raw(&head)));
    }
    clock::until("the end of all", || (server.monitor("/varz")["connections"] == 0).then_some(()));
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes");
}

#[test]
fn violations_are_told_and_end_the_connection() {
    let (_server, address, _folder) = server("", "");
    let mut healthy = client(address);
    let cases: &[(&[u8], u16, &str)] = &[
        (&[BINARY, 1, b'a'], 1002, "wrong masking"),
        (&[0x83, 0x80, 0, 0, 0, 0], 1002, "unknown opcode"),
        (&[0x80, 0x80, 0, 0, 0, 0], 1002, "continuation of nothing"),
        (&[BINARY, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], 1009, "frame too big"),
        (&[0x89, 0xfe, 0, 126, 0, 0, 0, 0], 1002, "control frame too big"),
    ];
    for (bytes, code, text) in cases {
        let mut socket = Socket::connect(address, "").unwrap();
        until(&mut socket, "\r\n");
        socket.raw(bytes);
        assert_eq!(last_frame(&mut socket), (*code, (*text).to_owned()));
    }
    // A violation of the protocol inside of the frames has its own words first.
    let mut socket = Socket::connect(address, "").unwrap();
    until(&mut socket, "\r\n");
    socket.frame(BINARY, b"nonsense\r\n");
    let (text, _) = until(&mut socket, "-ERR");
    assert_eq!(text, "-ERR 'Unknown Protocol Operation'\r\n");
    assert_eq!(last_frame(&mut socket), (1002, "Protocol Violation".to_owned()));
    healthy.expect_nothing();
}

#[test]
fn who_does_not_read_is_cut_off_and_others_are_not() {
    const COUNT: usize = 600;
    let (mut server, address, _folder) = server("", "max_pending: 1MiB\nsublog { capture: false }");
    let (mut slow, mut healthy) = (client(address), client(address));
    for reader in [&mut slow, &mut healthy] {
        reader.subscribe("flood", "1");
        reader.sync();
    }
    let mut publisher = server.client();
    for n in 0..COUNT {
        // At the pace of the one that reads.
        publisher.publish("flood", format!("{n:032768}"));
        assert_eq!(healthy.message().text().parse::<usize>().unwrap(), n);
    }
    server.log_line("Slow Consumer (Pending Bytes)");
    healthy.expect_nothing();
}

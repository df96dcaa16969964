//! Before anybody has said who it is.

use std::io::Read as _;
use std::time::Duration;

use sublog_tests::clock;

use crate::{Bystander, KIB, MIB, is_closed, push, server, socket};

const USER: &[&str] = &["--user", "u", "--pass", "p", "--capture", "off"];
const CONNECT: &str = r#"{"verbose":false,"user":"u","pass":"p"}"#;

/// Row 32: a connection that has not said who it is costs at most 64 KiB, whatever it has begun to send; ten thousand of them less than
/// 700 MB (as many as this machine's limit of open files permits).
#[test]
fn memory_before_authentication_is_bounded() {
    let server = server(USER);
    let mut bystander = Bystander::new(&server, CONNECT);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1024);
    let count = usize::try_from((limit.saturating_sub(200) / 2).min(10_000)).unwrap();
    let before = server.resident_bytes();
    // Almost a whole longest line each, so that all of it has to be kept.
    let begun = format!("CONNECT {{\"user\":\"{}", "x".repeat(4000));
    let mut sockets = Vec::with_capacity(count);
    for n in 0..count {
        let mut stream = socket(server.address());
        push(&mut stream, begun.as_bytes());
        sockets.push(stream);
        if n % 1000 == 0 {
            bystander.is_served();
        }
        // Those that have waited too long are sent away meanwhile: what is there at once is what counts.
    }
    let grown = server.resident_bytes().saturating_sub(before);
    println!("{count} connections: {grown} bytes, {} each", grown / count as u64);
    assert!(grown < 700 * MIB && grown < count as u64 * 64 * KIB, "{grown} bytes for {count} connections");
    bystander.is_served();
    // Two seconds are all that a stranger has.
    let last = sockets.last_mut().unwrap();
    assert!(is_closed(last));
    drop(sockets);
    bystander.is_served();
}

/// Bytes that trickle in do not give anybody more time: a CONNECT, a TLS handshake, an upgrade, one byte at a time.
#[test]
fn who_sends_slowly_has_no_more_time_than_others() {
    let folder = tempfile::TempDir::with_prefix("sublog-abuse-").unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("c.pem"), certificate.pem()).unwrap();
    std::fs::write(path("k.pem"), key.serialize_pem()).unwrap();
    let conf = path("t.conf");
    let tls = format!("cert_file: '{}', key_file: '{}'", path("c.pem"), path("k.pem"));
    std::fs::write(
        &conf,
        format!(
            "authorization {{ user: u, password: p, timeout: 1 }}, tls {{ {tls}, timeout: 1 }}, allow_non_tls: true
         websocket {{ listen: '127.0.0.1:-1', no_tls: true, handshake_timeout: '1s' }}, sublog {{ capture: off }}"
        ),
    )
    .unwrap();
    let server = server(&["-c", &conf]);
    let mut bystander = Bystander::new(&server, CONNECT);
    let line = server.log_has("Listening for websocket clients on").unwrap();
    let websocket: u16 = line.rsplit(':').next().unwrap().trim().parse().unwrap();
    let websocket = std::net::SocketAddr::from(([127, 0, 0, 1], websocket));
    // The first bytes of a ClientHello that announces 512 of them.
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.resize(300, 7);
    let slow: [(&str, std::net::SocketAddr, Vec<u8>); 3] = [
        ("CONNECT", server.address(), format!("CONNECT {{\"user\":\"{}", "x".repeat(2000)).into_bytes()),
        ("a handshake", server.address(), hello),
        ("an upgrade", websocket, format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "y".repeat(2000)).into_bytes()),
    ];
    for (what, address, bytes) in slow {
        let mut stream = socket(address);
        if what != "an upgrade" {
            let mut info = [0; 4096];
            assert!(stream.read(&mut info).unwrap() > 0);
        }
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let begun = clock::now();
        let mut bytes = bytes.into_iter().cycle();
        let mut buffer = [0; 1024];
        loop {
            let sent = push(&mut stream, &[bytes.next().unwrap()]);
            let ended = match stream.read(&mut buffer) {
                Ok(read) => read == 0,
                Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
            };
            if !sent || ended {
                break;
            }
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(8), "{what} may last {took:?}");
        }
        println!("{what}: {:?}", begun.elapsed());
        bystander.is_served();
    }
}

/// Lines without an end, and documents that are deep or wide.
#[test]
fn lines_and_documents_without_end() {
    let server = server(USER);
    let mut bystander = Bystander::new(&server, CONNECT);
    let before = server.resident_bytes();
    let deep = format!("CONNECT {{\"a\":{}", "[".repeat(4000));
    let wide = format!("CONNECT {{\"a\":[{}", "1,".repeat(2000));
    let valid_deep = format!("CONNECT {{\"a\":{}{}}}\r\nPING\r\n", "[".repeat(1900), "]".repeat(1900));
    let valid_wide = format!("CONNECT {{\"a\":[{}1]}}\r\nPING\r\n", "1,".repeat(1900));
    for begin in [
        "",
        "CONNECT ",
        "CONNECT {\"user\":\"",
        "PUB ",
        "SUB ",
        "PING",
        "\u{0}",
        deep.as_str(),
        wide.as_str(),
        &valid_deep,
        &valid_wide,
    ] {
        for filler in ["x", " ", "\"", "\u{0}", "{", "\\"] {
            let mut stream = socket(server.address());
            push(&mut stream, begin.as_bytes());
            let filler = filler.repeat(64 * 1024);
            for _ in 0..64 {
                if !push(&mut stream, filler.as_bytes()) {
                    break;
                }
            }
            assert!(is_closed(&mut stream), "{begin:.20}");
        }
        bystander.is_served();
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MIB, "{grown}");
}

/// A flood of connections, each gone at once.
#[test]
fn connections_come_and_go() {
    let server = server(USER);
    let mut bystander = Bystander::new(&server, CONNECT);
    let before = server.resident_bytes();
    let floods: Vec<_> = (0..4)
        .map(|_| {
            let address = server.address();
            std::thread::spawn(move || {
                for n in 0..2500 {
                    let Ok(mut stream) = std::net::TcpStream::connect(address) else { continue };
                    if n % 2 == 0 {
                        push(&mut stream, b"CONNECT {}\r\nPING\r\n");
                    }
                }
            })
        })
        .collect();
    while floods.iter().any(|flood| !flood.is_finished()) {
        bystander.is_served();
    }
    for flood in floods {
        flood.join().unwrap();
    }
    bystander.is_served();
    // Ten thousand closed connections are remembered for /connz.
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown}");
}

//! Monitoring over HTTPS, and what its pages say of encryption.

use std::net::SocketAddr;

use serde_json::Value;
use sublog_tests::http;

use crate::support::{Secure, encrypt, tcp};

fn get(secure: &Secure, address: SocketAddr, path: &str) -> Value {
    let stream = encrypt(tcp(address), secure.config().into(), "127.0.0.1").unwrap();
    let (status, body) = http::get_over(stream, address, path);
    assert_eq!(status, 200);
    serde_json::from_str(&body).unwrap()
}

#[test]
fn pages_over_https() {
    let ports = tempfile::TempDir::new().unwrap();
    let rest = format!("https: '127.0.0.1:-1'\nports_file_dir: '{}'", ports.path().display());
    // Its callers are asked for no certificate, whatever clients are.
    let mut secure = Secure::start("timeout: 1.5\n ca_file: 'DIR/ca.pem'\n verify: true", &rest);
    let line = secure.server.log_line("Starting https monitor on ");
    let address: SocketAddr = line.rsplit(' ').next().unwrap().parse().unwrap();
    let varz = get(&secure, address, "/varz");
    assert_eq!(
        (&varz["tls_required"], &varz["tls_verify"], &varz["tls_timeout"]),
        (&true.into(), &true.into(), &1.5.into())
    );
    assert_eq!(varz["auth_timeout"], 2.5);
    assert_eq!(get(&secure, address, "/connz")["connections"], Value::Array(Vec::new()));
    let file = ports.path().join(format!("sublog_{}.ports", secure.server.pid()));
    let file: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(file["monitoring"][0], format!("https://{address}"));
    assert_eq!(file["nats"][0], format!("tls://{}", secure.address()));
    // Plain words are no page.
    use std::io::{Read as _, Write as _};
    let mut plain = tcp(address);
    plain.write_all(b"GET /varz HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"));
}

#[test]
fn plain_pages_beside_encrypted_clients() {
    let secure = Secure::start_with("", "", &["-m", "-1"]);
    assert_eq!(secure.server.monitor("/varz")["tls_required"], true);
}

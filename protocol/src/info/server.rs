//! `INFO`, what a server says about itself.

use serde::{Deserialize, Serialize};

use crate::limits;

/// `INFO` is not a JSON document of the expected shape.
#[derive(Debug, thiserror::Error)]
#[error("bad INFO: {0}")]
pub struct InfoError(#[from] serde_json::Error);

/// The fields of `INFO` on a client listener. Fields that NATS omits when empty or false are omitted here
/// as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerInfo {
    /// Public key of the server: 56 characters, beginning with `N`.
    pub server_id: String,
    /// Name of the server, by default its id.
    pub server_name: String,
    /// Version of NATS whose client protocol is spoken; clients parse it and gate features on it.
    pub version: String,
    /// Version of the server protocol, 1.
    pub proto: i32,
    /// Commit the server was built from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub git_commit: String,
    /// Version of the language it was built with.
    pub go: String,
    /// Address the server listens on.
    pub host: String,
    /// Port the server listens on.
    pub port: u16,
    /// Whether message headers are supported.
    pub headers: bool,
    /// Whether credentials are needed.
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    /// Whether the client must upgrade to TLS.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// Whether the client must show a certificate.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// Whether the client may upgrade to TLS.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_available: bool,
    /// Largest message accepted, in bytes.
    pub max_payload: i64,
    /// Whether JetStream is on.
    #[serde(skip_serializing_if = "is_false")]
    pub jetstream: bool,
    /// Address the server was reached at.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// Number of the connection on this server.
    #[serde(skip_serializing_if = "is_zero")]
    pub client_id: u64,
    /// Address of the client as the server sees it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_ip: String,
    /// Challenge to sign, 11 bytes in base64url.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// Name of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Whether the name of the cluster was made up.
    #[serde(skip_serializing_if = "is_false")]
    pub cluster_dynamic: bool,
    /// JetStream domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Addresses of the cluster members for clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// Addresses of the cluster members for WebSocket clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ws_connect_urls: Vec<String>,
    /// Whether the server is about to stop and clients should move away.
    #[serde(skip_serializing_if = "is_false")]
    pub ldm: bool,
    /// Whether this is the `INFO` that follows the handshake.
    #[serde(skip_serializing_if = "is_false")]
    pub connect_info: bool,
    /// Account the client belongs to (only after the handshake).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_account: String,
    /// Whether that is the system account (only after the handshake).
    #[serde(skip_serializing_if = "is_false")]
    pub acc_is_sys: bool,
    /// Level of the JetStream API.
    #[serde(skip_serializing_if = "is_zero_i32")]
    pub api_lvl: i32,
    /// Public curve key of the server.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub xkey: String,
    /// Version of Sublog, absent from any other server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sublog: Option<String>,
}

impl Default for ServerInfo {
    /// Protocol 1 with headers and the default limits; everything else empty, zero or false.
    fn default() -> Self {
        Self {
            server_id: String::new(),
            server_name: String::new(),
            version: String::new(),
            proto: 1,
            git_commit: String::new(),
            go: String::new(),
            host: String::new(),
            port: limits::CLIENT_PORT,
            headers: true,
            auth_required: false,
            tls_required: false,
            tls_verify: false,
            tls_available: false,
            max_payload: limits::MAX_PAYLOAD as i64,
            jetstream: false,
            ip: String::new(),
            client_id: 0,
            client_ip: String::new(),
            nonce: String::new(),
            cluster: String::new(),
            cluster_dynamic: false,
            domain: String::new(),
            connect_urls: Vec::new(),
            ws_connect_urls: Vec::new(),
            ldm: false,
            connect_info: false,
            remote_account: String::new(),
            acc_is_sys: false,
            api_lvl: 0,
            xkey: String::new(),
            sublog: None,
        }
    }
}

impl ServerInfo {
    /// Parses the JSON of an `INFO` line.
    ///
    /// # Errors
    /// [`InfoError`] when it is not a JSON object or a known field has the wrong type. A client that sends
    /// such an `INFO` is closed without an answer, `connz` reason "Protocol Violation"; any other `INFO` from
    /// a client has no effect.
    pub fn parse(json: &[u8]) -> Result<Self, InfoError> {
        Ok(serde_json::from_str(&String::from_utf8_lossy(json))?)
    }

    /// Appends the document as one line of JSON, without a line end.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        super::append_json(self, out);
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn is_zero_i32(value: &i32) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typical() -> ServerInfo {
        let key = "NAGTBR5YTCX7UHCSXKJOGK7VZPVACXVSZUYJWTTU6FMUZGT4ULOXD4HP";
        ServerInfo {
            server_id: key.into(),
            server_name: key.into(),
            version: "2.15.1".into(),
            git_commit: "b2fd3ef".into(),
            go: "go1.27.2".into(),
            host: "0.0.0.0".into(),
            client_id: 23,
            client_ip: "127.0.0.1".into(),
            ..ServerInfo::default()
        }
    }

    #[test]
    fn the_document_of_a_plain_server() {
        let mut out = Vec::new();
        typical().write_json(&mut out);
        let expected = concat!(
            r#"{"server_id":"NAGTBR5YTCX7UHCSXKJOGK7VZPVACXVSZUYJWTTU6FMUZGT4ULOXD4HP","#,
            r#""server_name":"NAGTBR5YTCX7UHCSXKJOGK7VZPVACXVSZUYJWTTU6FMUZGT4ULOXD4HP","#,
            r#""version":"2.15.1","proto":1,"git_commit":"b2fd3ef","go":"go1.27.2","host":"0.0.0.0","port":4222,"#,
            r#""headers":true,"max_payload":1048576,"client_id":23,"client_ip":"127.0.0.1"}"#,
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn everything_set_fits_what_old_clients_buffer() {
        let info = ServerInfo {
            auth_required: true,
            tls_required: true,
            tls_verify: true,
            tls_available: true,
            jetstream: true,
            nonce: "k1fM2kLr3Cvb0ao".into(),
            cluster: "cms-production".into(),
            cluster_dynamic: true,
            connect_urls: vec!["192.168.100.100:4222".into(); 3],
            ldm: true,
            connect_info: true,
            remote_account: "$G".into(),
            acc_is_sys: true,
            api_lvl: 5,
            xkey: "XDFZZSIUT3WFU4XXL6GRBMC2CPJPVNFXIR4S2WB7AQDEGC5ZBT6UJIWB".into(),
            sublog: Some("0.1.0".into()),
            ..typical()
        };
        let mut out = Vec::new();
        crate::encode::info(&mut out, &info);
        assert!(out.len() < limits::INFO_BYTES_MAX, "{}", out.len());
        assert_eq!(ServerInfo::parse(&out[5..]).unwrap(), info);
    }

    #[test]
    fn documents_of_other_servers_are_read() {
        let info =
            ServerInfo::parse(br#" {"server_id":"x","version":"2.1.0","unheard_of":[[1]],"host":"h"} "#).unwrap();
        assert_eq!((info.server_id.as_str(), info.version.as_str(), info.sublog), ("x", "2.1.0", None));
        for bad in [&b""[..], b"x", b"[", br#"{"proto":"1"}"#, b"{} {}"] {
            assert!(ServerInfo::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}

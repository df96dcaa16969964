//! The two JSON documents of the handshake: `INFO` from the server, `CONNECT` from the client.

mod connect;
mod server;

pub use connect::{ConnectError, ConnectOptions};
pub use server::{InfoError, ServerInfo};

/// Appends `value` as one line of JSON. `serde_json` escapes every control character, so no line end can
/// come in with a string.
fn append_json(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    let start = out.len();
    // Neither a vector nor plain structs of strings, numbers and flags can fail. Should that ever change, an
    // empty document is still one that everybody can read.
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"{}");
    }
}

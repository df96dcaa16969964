//! The beginning of a connection of the WebSocket port: encryption, if the port has it, then the upgrade, then INFO in the
//! first frame.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::{Begun, begun, say_info, shake};
use crate::client::input::Input;
use crate::client::layers::{Layers, Opener};
use crate::client::{Client, CloseReason};
use crate::server::Server;
use crate::websocket::WebSocket;
use crate::websocket::frames::Writer;
use crate::websocket::upgrade::{Accepted, Upgrade, refusal, upgrade};

/// Room for a request; one that is larger is read in pieces.
const REQUEST_BYTES: usize = 2048;

pub(super) async fn begin(server: &Server, client: &Client, port: &Arc<WebSocket>, reader: OwnedReadHalf) -> Begun {
    client.in_handshake.store(true, Ordering::Release);
    let Some(socket) = client.out.hold() else {
        client.close(CloseReason::WriteError);
        return Begun::Over(Some(reader));
    };
    let mut opener = match port.tls() {
        None => Opener::new(reader, Arc::new(Layers::new(None)), Vec::new()),
        Some(tls) => match shake(server, client, tls, reader, &socket, false).await {
            Ok((reader, session)) => Opener::new(reader, Arc::new(Layers::new(Some(session.tls))), session.unread),
            Err(reader) => return Begun::Over(reader),
        },
    };
    let asked = tokio::time::timeout(port.options.handshake_timeout, request(port, &mut opener)).await;
    let (reason, answer) = match asked {
        Ok(Some((Upgrade::Accepted(accepted), false))) => {
            return accept(server, client, opener, &socket, *accepted).await;
        }
        Ok(Some((Upgrade::Refused { status, reason }, _))) => (Some(reason.clone()), Some(refusal(status, &reason))),
        Ok(Some(_)) => {
            let reason = "client sent data before handshake is complete";
            (Some(reason.to_owned()), Some(refusal(400, reason)))
        }
        Ok(None) | Err(_) => (None, None),
    };
    match reason {
        Some(reason) => tracing::error!(client = %client, "websocket: {reason}"),
        None => tracing::debug!(client = %client, "websocket: the request did not come"),
    }
    if let Some(answer) = answer {
        // Who does not take it is not waited for.
        let _ = tokio::time::timeout(super::LAST_WORDS, write(&opener, &socket, answer)).await;
    }
    client.close(CloseReason::ProtocolViolation);
    Begun::Over(Some(opener.into_socket()))
}

/// Reads the request. The second half of the answer says that something followed it; `None` that it never came.
async fn request(port: &WebSocket, opener: &mut Opener) -> Option<(Upgrade, bool)> {
    let mut head = Vec::with_capacity(REQUEST_BYTES);
    let secure = port.options.tls.is_some();
    loop {
        match opener.read_buf(&mut head).await {
            Ok(0) => return None,
            Ok(_) => {}
            // The session wants to say something; it does with the answer.
            Err(error) if error.kind() == ErrorKind::Interrupted => opener.must_speak = false,
            Err(_) => return None,
        }
        match upgrade(&head, &port.options, secure) {
            Upgrade::Incomplete => {}
            Upgrade::Accepted(accepted) => {
                let more = accepted.taken < head.len();
                return Some((Upgrade::Accepted(accepted), more));
            }
            refused @ Upgrade::Refused { .. } => return Some((refused, false)),
        }
    }
}

async fn accept(
    server: &Server,
    client: &Client,
    mut opener: Opener,
    socket: &OwnedWriteHalf,
    accepted: Accepted,
) -> Begun {
    let Accepted { answer, compression, masked, visitor, .. } = accepted;
    let written = tokio::time::timeout(super::LAST_WORDS, write(&opener, socket, answer)).await;
    if !matches!(written, Ok(Ok(()))) {
        client.close(CloseReason::WriteError);
        return Begun::Over(None);
    }
    let layers = opener.layers();
    layers.begin_frames(Writer::new(compression));
    opener.begin_frames(masked, compression, server.current().limits.max_payload);
    // There is one upgrade a connection.
    let _ = client.visitor.set(visitor);
    say_info(server, client);
    begun(client);
    if let Err(reason) = client.out.release(Some(layers)) {
        client.close(reason);
        return Begun::Over(None);
    }
    Begun::Ready(Input::Layered(Box::new(opener)))
}

/// Writes what is no frame yet.
async fn write(opener: &Opener, socket: &OwnedWriteHalf, bytes: Vec<u8>) -> std::io::Result<()> {
    let mut out = Vec::new();
    opener.layers().seal(&[Bytes::from(bytes)], &mut out).map_err(|reason| std::io::Error::other(reason.as_str()))?;
    let mut rest = out.as_slice();
    while !rest.is_empty() {
        match socket.try_write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => socket.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

//! From an accepted socket to a connection that may speak: INFO and encryption, in the order that the listener has them.

mod upgrade;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sublog_protocol::encode;
use sublog_protocol::error::ServerError;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::finish::LAST_WORDS;
use super::input::Input;
use super::layers::{Layers, Opener};
use super::outbound::Kind;
use super::{Client, CloseReason};
use crate::auth::login;
use crate::clock;
use crate::config::HandshakeFirst;
use crate::server::Server;
use crate::tls::Tls;
use crate::tls::handshake::{HANDSHAKE_RECORD, HandshakeError, Session, first_byte};

/// How a connection began.
pub(super) enum Begun {
    /// It may speak.
    Ready(Input),
    /// It is closing; the socket, if it still matters.
    Over(Option<OwnedReadHalf>),
}

/// Says INFO and encrypts.
pub(super) async fn begin(server: &Server, client: &Client, mut reader: OwnedReadHalf) -> Begun {
    client.out.ready().await;
    if server.current().auth.needs_nonce() {
        match login::nonce() {
            Ok(nonce) => drop(client.nonce.set(nonce)),
            // Nobody who signs gets in then.
            Err(error) => tracing::error!(client = %client, "No random numbers for a nonce: {error}"),
        }
    }
    if let Some(port) = &client.websocket {
        return upgrade::begin(server, client, port, reader).await;
    }
    let Some(tls) = server.tls() else {
        say_info(server, client);
        return Begun::Ready(Input::Plain(reader));
    };
    client.in_handshake.store(true, Ordering::Release);
    let first = match tls.options.first {
        HandshakeFirst::No => false,
        HandshakeFirst::Yes => true,
        HandshakeFirst::Within(span) => first_byte(&mut reader, span).await.is_some(),
    };
    if !first {
        say_info(server, client);
        client.out.flush(LAST_WORDS).await;
        if server.tls_is_optional() && first_byte(&mut reader, tls.options.timeout).await != Some(HANDSHAKE_RECORD) {
            begun(client);
            return Begun::Ready(Input::Plain(reader));
        }
    }
    if !tls.admits(clock::ticks_ms()) {
        let mut out = Vec::new();
        encode::err(&mut out, &ServerError::ConnectionThrottled);
        client.send(&mut out, Kind::Control);
        client.close(CloseReason::MaximumConnections);
        return Begun::Over(Some(reader));
    }
    secure(server, client, tls, reader, first).await
}

/// What waits for the client to say who it is waits from here on.
fn begun(client: &Client) {
    client.speaks_from_ms.store(clock::ticks_ms(), Ordering::Release);
    client.in_handshake.store(false, Ordering::Release);
}

fn say_info(server: &Server, client: &Client) {
    let mut info = Vec::new();
    encode::info(&mut info, &server.info(client));
    client.send(&mut info, Kind::Control);
}

async fn secure(server: &Server, client: &Client, tls: Arc<Tls>, reader: OwnedReadHalf, first: bool) -> Begun {
    let Some(socket) = client.out.hold() else {
        // The client does not even take INFO.
        client.close(CloseReason::WriteError);
        return Begun::Over(Some(reader));
    };
    let (reader, session) = match shake(server, client, tls, reader, &socket, first).await {
        Ok(done) => done,
        Err(reader) => return Begun::Over(reader),
    };
    if first {
        say_info(server, client);
    }
    begun(client);
    let layers = Arc::new(Layers::new(Some(session.tls)));
    if let Err(reason) = client.out.release(Some(layers.clone())) {
        client.close(reason);
        return Begun::Over(None);
    }
    Begun::Ready(Input::Layered(Box::new(Opener::new(reader, layers, session.unread))))
}

/// Encrypts. An error is what is left of a connection that is closing.
pub(super) async fn shake(
    server: &Server,
    client: &Client,
    tls: Arc<Tls>,
    reader: OwnedReadHalf,
    socket: &Arc<OwnedWriteHalf>,
    first: bool,
) -> Result<(OwnedReadHalf, Session), Option<OwnedReadHalf>> {
    tracing::debug!(client = %client, "Starting TLS client connection handshake");
    let (reader, heard, result) = server.shaker.accept(tls, reader, socket.clone()).await;
    match (result, reader) {
        (Ok(session), Some(reader)) => {
            let mut secured = session.secured.clone();
            secured.first = first;
            tracing::debug!(
                client = %client,
                "TLS handshake complete: version {}, cipher suite {}{}",
                secured.version,
                secured.suite,
                if secured.resumed { ", resumed" } else { "" }
            );
            server.stats.handshakes.fetch_add(1, Ordering::Relaxed);
            server.stats.resumed.fetch_add(u64::from(secured.resumed), Ordering::Relaxed);
            // There is one handshake a connection.
            let _ = client.secured.set(secured);
            Ok((reader, session))
        }
        (Ok(_), None) => {
            client.close(CloseReason::TlsHandshake);
            Err(None)
        }
        (Err(error), reader) => {
            tell(client, &error);
            if error.is_plain(heard) && client.websocket.is_none() {
                let mut out = Vec::new();
                encode::err(&mut out, &ServerError::TlsRequired);
                // A few bytes into a socket that took INFO; if it does not take them, they are lost.
                let _ = socket.try_write(&out);
            }
            client.close(CloseReason::TlsHandshake);
            Err(reader)
        }
    }
}

fn tell(client: &Client, error: &HandshakeError) {
    if error.is_probe() {
        tracing::debug!(client = %client, "TLS handshake error: {error}");
    } else {
        tracing::error!(client = %client, "TLS handshake error: {error}");
    }
}

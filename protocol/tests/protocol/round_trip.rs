//! What `encode` writes is what `decode` reads.

use proptest::prelude::*;
use sublog_protocol::decode::{ClientOp, Limits, ServerOp, ServerStep, Step, decode_client, decode_server};
use sublog_protocol::encode;
use sublog_protocol::error::ServerError;
use sublog_protocol::info::{ConnectOptions, ServerInfo};

use crate::streams::{self, OwnedOp};

fn client(bytes: &[u8]) -> ClientOp<'_> {
    match decode_client(bytes, &Limits::default()) {
        Ok(Step::Op { op, consumed }) if consumed == bytes.len() => op,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

fn server(bytes: &[u8]) -> ServerOp<'_> {
    match decode_server(bytes, usize::MAX) {
        Ok(ServerStep::Op { op, consumed }) if consumed == bytes.len() => op,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn from_clients(op in streams::client_op()) {
        let mut out = Vec::new();
        match &op {
            OwnedOp::Message(message) if message.header.is_some() => encode::hpublish(
                &mut out,
                &message.subject,
                message.reply.as_deref(),
                message.header_len(),
                &message.body(),
            ),
            OwnedOp::Message(message) => {
                encode::publish(&mut out, &message.subject, message.reply.as_deref(), &message.payload);
            }
            OwnedOp::Subscribe { subject, queue, sid } => encode::subscribe(&mut out, subject, queue.as_deref(), sid),
            OwnedOp::Unsubscribe { sid, max } => encode::unsubscribe(&mut out, sid, *max),
            OwnedOp::Ping => out.extend_from_slice(encode::PING),
            OwnedOp::Pong => out.extend_from_slice(encode::PONG),
            OwnedOp::Ok => out.extend_from_slice(encode::OK),
            OwnedOp::Connect(_) | OwnedOp::Info(_) | OwnedOp::Err(_) => return Ok(()),
        }
        streams::assert_client(&op, &client(&out));
    }

    #[test]
    fn to_clients(message in streams::message()) {
        let mut out = Vec::new();
        let reply = message.reply.as_deref();
        let body = message.body();
        let mut in_parts = Vec::new();
        if message.header.is_some() {
            encode::hmsg(&mut out, &message.subject, &message.sid, reply, message.header_len(), &body);
            encode::hmsg_head(
                &mut in_parts, &message.subject, &message.sid, reply, message.header_len(), body.len(),
            );
        } else {
            encode::msg(&mut out, &message.subject, &message.sid, reply, &body);
            encode::msg_head(&mut in_parts, &message.subject, &message.sid, reply, body.len());
        }
        in_parts.extend_from_slice(&body);
        in_parts.extend_from_slice(encode::CRLF);
        prop_assert_eq!(&in_parts, &out);
        streams::assert_server(&OwnedOp::Message(message), &server(&out));
    }

    #[test]
    fn numbers(n in any::<u64>(), shift in 0..64_u32) {
        let n = n >> shift;
        let mut out = Vec::new();
        encode::decimal(&mut out, n);
        prop_assert_eq!(String::from_utf8(out).unwrap(), n.to_string());
    }

    #[test]
    fn error_texts(subject in prop::collection::vec(any::<u8>(), 0..20), own in any::<String>()) {
        for error in [ServerError::PermissionPublish { subject: subject.clone() }, ServerError::Other(own.clone())] {
            let mut out = Vec::new();
            encode::err(&mut out, &error);
            let text = error.text().into_owned();
            prop_assert_eq!(server(&out), ServerOp::Err(text.as_bytes()));
        }
    }

    #[test]
    fn connect_documents(text in prop::collection::vec(prop::option::of(any::<String>()), 10), flags in any::<[bool; 7]>()) {
        let mut text = text.into_iter().map(|value| value.map(|text| text.chars().take(40).collect::<String>()));
        let mut next = || text.next().flatten();
        let [verbose, pedantic, echo, headers, no_responders, tls_required, new_account] = flags;
        let options = ConnectOptions {
            verbose, pedantic, echo, protocol: 1, headers, no_responders, tls_required,
            user: next(), pass: next(), auth_token: next(), jwt: next(), nkey: next(), sig: next(), name: next(),
            lang: next(), version: next(), account: next(), new_account,
        };
        let mut out = Vec::new();
        encode::connect(&mut out, &options);
        let ClientOp::Connect(json) = client(&out) else { panic!() };
        prop_assert_eq!(ConnectOptions::parse(json).unwrap(), options);
    }

    #[test]
    fn info_documents(name in any::<String>(), urls in prop::collection::vec(any::<String>(), 0..3), client_id in any::<u64>()) {
        let info = ServerInfo { server_name: name, connect_urls: urls, client_id, ..ServerInfo::default() };
        let mut out = Vec::new();
        encode::info(&mut out, &info);
        let ServerOp::Info(json) = server(&out) else { panic!() };
        prop_assert_eq!(ServerInfo::parse(json).unwrap(), info);
    }
}

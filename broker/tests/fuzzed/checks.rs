//! Properties that hold for any input whatsoever. The fuzz targets run these functions on what they make up, the tests run
//! them on the checked-in corpus and on changed copies of it.

use std::path::Path;

use sublog_broker::conf::settings::Settings;
use sublog_broker::conf::{self, Source};
use sublog_broker::jetstream::config::Limits;
use sublog_broker::jetstream::config::json::Unknown;
use sublog_broker::jetstream::config::stream::admit::Creation;
use sublog_broker::jetstream::wire::create::{ConsumerRequest, CreateSubject};
use sublog_broker::jetstream::wire::requests::{self, StreamRequest};
use sublog_broker::jwt::account::{Account, Activation};
use sublog_broker::jwt::{self, Generic, operator, user};
use sublog_broker::operator::template::{self, Facts};
use sublog_broker::operator::{rights, times};
use sublog_broker::websocket::frames::Reader;

/// A configuration is read or refused, its settings are read or refused, and neither takes long or much.
pub(crate) fn configuration(data: &[u8]) {
    // What would read files of the machine is none of this.
    if data.windows(7).any(|part| part.eq_ignore_ascii_case(b"include")) {
        return;
    }
    let env = |_: &str| None;
    let source = Source { name: "fuzzed", dir: Path::new("/nonexistent"), env: &env };
    let Ok(map) = source.parse(data) else { return };
    let digest = conf::digest(&map);
    assert!(digest.starts_with("sha256:"));
    match Settings::new(map) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(settings) => {
            assert_eq!(settings.digest(), digest);
            let (keys, _) = (settings.honoured(), settings.authorization());
            assert!(keys.iter().all(|key| !key.path.is_empty()));
            let _ = (settings.tls(), settings.websocket(), settings.accounts());
        }
    }
}

/// Every request of the API reads any body or refuses it; a stream that is made of one reads as itself again.
pub(crate) fn api_json(data: &[u8]) {
    let subjects = ["CREATE.S", "CREATE.S.c", "CREATE.S.c.s.>", "DURABLE.CREATE.S.c"];
    for unknown in [Unknown::Ignore, Unknown::Refuse] {
        if let Ok(request) = StreamRequest::parse("S", data, unknown)
            && let Ok(Creation::New(config)) =
                request.config.create(&Limits::default(), request.pedantic, [].into_iter())
        {
            let text = serde_json::to_vec(&config).unwrap();
            let again = StreamRequest::parse("S", &text, Unknown::Ignore).unwrap();
            assert_eq!(serde_json::to_vec(&again.config).unwrap(), text);
        }
        for subject in subjects.iter().filter_map(|subject| CreateSubject::parse(subject)) {
            if let Ok(request) = ConsumerRequest::parse(&subject, data, unknown) {
                assert!(serde_json::to_vec(&request.config).is_ok());
            }
        }
        let _ = requests::StreamsRequest::parse(data, unknown);
        let _ = requests::StreamInfoRequest::parse(data, unknown);
        let _ = requests::PurgeRequest::parse(data, unknown);
        let _ = requests::MsgGetRequest::parse(data, unknown);
        let _ = requests::MsgDeleteRequest::parse(data, unknown);
        let _ = requests::ConsumersRequest::parse(data, unknown);
        let _ = requests::PauseRequest::parse(data, unknown);
        let _ = requests::ResetRequest::parse(data, unknown);
        let _ = requests::SnapshotRequest::parse(data, unknown);
        let _ = requests::RestoreRequest::parse("S", data, unknown);
    }
    let _ = requests::UnpinRequest::parse(data);
}

/// A token is read or refused, whoever made it: as it comes, and as what somebody with a key of their own has signed.
pub(crate) fn jwt(data: &[u8]) {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    read_token(&String::from_utf8_lossy(data));
    let _ = jwt::undecorated(&String::from_utf8_lossy(data));
    // Only who names this key has signed it.
    let Ok(key) = nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::Account, [7; 32]) else { return };
    let payload = URL_SAFE_NO_PAD.encode(data);
    let signed = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#));
    for text in [signed.as_str(), payload.as_str()] {
        let Ok(signature) = key.sign(text.as_bytes()) else { return };
        read_token(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)));
    }
}

fn read_token(token: &str) {
    let _ = jwt::decode::<operator::Operator>(token);
    let _ = jwt::decode::<Generic>(token);
    if let Ok(token) = jwt::decode::<Activation>(token) {
        let _ = token.issues(1).text();
    }
    if let Ok(token) = jwt::decode::<Account>(token) {
        let _ = token.issues(1).text();
        let _ = rights::permissions(&token.body.default_permissions);
        for scope in token.body.signing_keys.0.values().flatten() {
            let tags = &token.body.tags;
            let facts =
                Facts { name: "n", subject: "s", tags, account_name: "a", account_subject: "A", account_tags: tags };
            if let Some(filled) = template::fill(&scope.template, &facts) {
                assert!(
                    filled.permissions.publish.allow.len() <= 4096 + scope.template.permissions.publish.allow.len()
                );
            }
        }
    }
    if let Ok(token) = jwt::decode::<user::User>(token) {
        let issues = token.issues(1);
        assert_eq!(issues.text().is_empty(), !issues.block(false));
        let bounds = &token.body.bounds;
        let _ = rights::permissions(&bounds.permissions);
        let _ = times::allow(&bounds.times, &bounds.times_location, jiff::Timestamp::UNIX_EPOCH);
    }
}

/// Frames give the same bytes however they were split, and end in the same way.
pub(crate) fn websocket(data: &[u8]) {
    const MESSAGE_MAX: usize = 64 * 1024;
    let Some((how, data)) = data.split_first() else { return };
    let reader = || Reader::new(how & 1 == 0, how & 2 == 0, MESSAGE_MAX);
    let whole = read(&mut reader(), data, data.len().max(1));
    for step in [1, 2, 7] {
        let (out, ended) = read(&mut reader(), data, step);
        assert_eq!(ended, whole.1, "in steps of {step}");
        // A connection that ends may have taken more or less of what was right before.
        let common = if ended { out.len().min(whole.0.len()) } else { out.len().max(whole.0.len()) };
        assert!(out.get(..common) == whole.0.get(..common), "other bytes in steps of {step}");
    }
}

/// What comes out of frames, and whether they end in an error.
fn read(reader: &mut Reader, data: &[u8], step: usize) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    for piece in data.chunks(step) {
        let mut rest = piece;
        loop {
            let mut out = Vec::with_capacity(4096);
            match reader.read(rest, &mut out) {
                Err(_) => return (all, true),
                Ok((taken, control)) => {
                    assert!(taken <= rest.len());
                    rest = &rest[taken..];
                    let idle = out.is_empty() && control.is_none();
                    all.extend_from_slice(&out);
                    assert!(all.len() <= 64 * 1024 * (data.len() + 1));
                    if idle && (rest.is_empty() || taken == 0) {
                        assert!(rest.is_empty(), "it takes nothing of {} bytes", rest.len());
                        break;
                    }
                }
            }
        }
    }
    (all, false)
}

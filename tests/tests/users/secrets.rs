//! What proves who somebody is stands in no log, on no monitoring page and in no error.

use crate::start_with;

const PLAIN: &str = "c4nary-plain";
const HASHED: &str = "c4nary-hashed";
const GIVEN: &str = "c4nary-given";

#[test]
fn secrets_are_shown_nowhere() {
    let hash = bcrypt::hash(HASHED, 4).unwrap();
    let key = nkeys::KeyPair::new_user();
    let text = format!(
        "debug: true, trace: true, http: '127.0.0.1:-1'
         authorization {{ users: [
           {{ user: p, password: '{PLAIN}' }}
           {{ user: h, password: '{hash}' }}
           {{ nkey: {} }}
         ] }}",
        key.public_key()
    );
    let mut configured = start_with(&text, &["-DV"]);
    let mut signatures = Vec::new();
    let mut clients = Vec::new();
    for connect in [
        format!(r#"{{"user":"p","pass":"{PLAIN}"}}"#),
        format!(r#"{{"user":"h","pass":"{HASHED}"}}"#),
        format!(r#"{{"user":"p","pass":"{GIVEN}"}}"#),
        format!(r#"{{"user":"h","pass":"{GIVEN}"}}"#),
        format!(r#"{{"auth_token":"{GIVEN}"}}"#),
        format!(r#"{{"jwt":"{GIVEN}","sig":"{GIVEN}","nkey":"x"}}"#),
        // Neither is what cannot be read as CONNECT.
        format!(r#"{{"user":"p","pass":"{GIVEN}""#),
        format!(r#"{{"user":5,"pass":"{GIVEN}"}}"#),
        "sign".to_owned(),
    ] {
        let mut client = configured.server.raw();
        let connect = if connect == "sign" {
            let nonce = client.info["nonce"].as_str().unwrap();
            let signature = data_encoding::BASE64URL_NOPAD.encode(&key.sign(nonce.as_bytes()).unwrap());
            signatures.push(signature.clone());
            format!(r#"{{"nkey":"{}","sig":"{signature}"}}"#, key.public_key())
        } else {
            connect
        };
        client.send(format!("CONNECT {connect}\r\nPING\r\n"));
        // All that it is told.
        let mut told = String::new();
        while let Ok(Some(seen)) = client.receive(sublog_tests::clock::PATIENCE) {
            told += &format!("{seen:?}\n");
            if matches!(seen, sublog_tests::Seen::Pong | sublog_tests::Seen::Closed) {
                break;
            }
        }
        assert!(!told.contains("c4nary"), "{told}");
        clients.push(client);
    }
    configured.reload(&text.replace(PLAIN, "c4nary-new"));
    // A file that cannot be used: what is wrong is named, what is secret is not.
    let broken = text.replace("user: h", "usr: h");
    std::fs::write(&configured.path, broken).unwrap();
    configured.server.signal(rustix::process::Signal::HUP);
    configured.server.log_line("The configuration stays as it was");
    let mut pages = String::new();
    for page in ["/varz", "/connz", "/connz?auth=1&subs=1", "/healthz", "/streamz"] {
        pages += &configured.server.monitor(page).to_string();
    }
    assert!(pages.contains("\"authorized_user\":\"h\""), "{pages}");
    let log = configured.server.log().join("\n");
    assert!(log.contains("[CONNECT") && log.contains("authentication error"));
    for shown in [&pages, &log] {
        assert!(!shown.contains("c4nary"), "{shown}");
        assert!(!shown.contains(&hash[7..]) && !shown.contains(&*key.seed().unwrap()));
        assert!(signatures.iter().all(|signature| !shown.contains(signature.as_str())));
    }
}

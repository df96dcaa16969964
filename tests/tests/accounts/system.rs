//! The account from which the server is watched.

use serde_json::{Value, json};
use sublog_tests::RawClient;

use crate::{ask, is_nobody, start};

const WATCHED: &str = r#"
jetstream: enabled
accounts {
  A { users: [ { user: a, password: a } ], jetstream: enabled }
  $SYS { users: [ { user: sys, password: sys } ] }
}
"#;

#[test]
fn pages_show_accounts() {
    let configured = start(WATCHED);
    let (_a, _sys) = (configured.user("a"), configured.user("sys"));
    let page = |path: &str| configured.server.monitor(path);
    assert_eq!(page("/varz")["system_account"], "$SYS");
    let accounts = page("/accountz");
    assert_eq!(accounts["system_account"], "$SYS");
    let mut names: Vec<&str> = accounts["accounts"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["$G", "$SYS", "A"]);
    let detail = &page("/accountz?acc=A")["account_detail"];
    assert_eq!((&detail["account_name"], &detail["client_connections"]), (&"A".into(), &1.into()), "{detail}");
    assert_eq!(detail["jetstream_enabled"], true);
    assert_eq!(page("/accountz?acc=$SYS")["account_detail"]["is_system"], true);
    let connections = page("/connz?acc=A&auth=1");
    assert_eq!(connections["num_connections"], 1);
    assert_eq!(connections["connections"][0]["account"], "A");
    let stats = page("/accstatz");
    let of_a = stats["account_statz"].as_array().unwrap().iter().find(|one| one["acc"] == "A").unwrap();
    assert_eq!(of_a["conns"], 1);
}

fn asked(client: &mut RawClient, subject: &str, body: &Value) -> Value {
    let answer = ask(client, subject, &body.to_string());
    assert!(!is_nobody(&answer), "{subject}");
    serde_json::from_slice(&answer.payload).unwrap()
}

#[test]
fn the_server_is_asked_from_the_system_account() {
    let configured = start(WATCHED);
    let (mut a, mut sys) = (configured.user("a"), configured.user("sys"));
    a.send("SUB x 1\r\n");
    a.sync();
    let id = asked(&mut sys, "$SYS.REQ.SERVER.PING.IDZ", &json!({}))["id"].as_str().unwrap().to_owned();
    let stats = asked(&mut sys, "$SYS.REQ.SERVER.PING", &json!({}));
    assert_eq!((&stats["server"]["id"], &stats["statsz"]["connections"]), (&id.as_str().into(), &2.into()), "{stats}");
    assert_eq!(stats["statsz"]["active_accounts"], 2);
    for (what, field, value) in [
        ("VARZ", "server_id", json!(id)),
        ("CONNZ", "num_connections", json!(2)),
        ("ROUTEZ", "num_routes", json!(0)),
        ("GATEWAYZ", "server_id", json!(id)),
        ("LEAFZ", "leafnodes", json!(0)),
        ("JSZ", "streams", json!(0)),
        ("HEALTHZ", "status", json!("ok")),
        ("ACCOUNTZ", "system_account", json!("$SYS")),
        ("SUBSZ", "server_id", json!(id)),
    ] {
        if what == "JSZ" && std::env::var_os("SUBLOG_BINARY").is_none() {
            // The capture stream is one as well.
            continue;
        }
        for to in ["PING", &id] {
            let found = asked(&mut sys, &format!("$SYS.REQ.SERVER.{to}.{what}"), &json!({}));
            assert_eq!(found["data"][field], value, "{what}: {found}");
        }
    }
    let filtered = asked(&mut sys, "$SYS.REQ.SERVER.PING.CONNZ", &json!({"acc": "A", "limit": 1, "auth": true}));
    assert_eq!(filtered["data"]["connections"][0]["authorized_user"], "a");
    let bad = ask(&mut sys, "$SYS.REQ.SERVER.PING.CONNZ", "{");
    assert!(bad.text().contains("\"code\":400"), "{}", bad.text());
    assert!(is_nobody(&ask(&mut sys, "$SYS.REQ.SERVER.PING.NONE", "")));
    assert!(is_nobody(&ask(&mut sys, "$SYS.REQ.SERVER.NOBODY.VARZ", "")));
    // Another server is meant.
    sys.send("SUB _INBOX.f 5\r\nPUB $SYS.REQ.SERVER.PING.VARZ _INBOX.f 22\r\n{\"server_name\":\"none\"}\r\n");
    sys.expect_nothing();
    // About accounts.
    let info = asked(&mut sys, "$SYS.REQ.ACCOUNT.A.INFO", &json!({}));
    assert_eq!((&info["data"]["account_name"], &info["data"]["client_connections"]), (&"A".into(), &1.into()));
    assert_eq!(asked(&mut sys, "$SYS.REQ.ACCOUNT.A.CONNZ", &json!({}))["data"]["num_connections"], 1);
    assert_eq!(asked(&mut sys, "$SYS.REQ.ACCOUNT.A.STATZ", &json!({}))["data"]["account_statz"][0]["acc"], "A");
    assert_eq!(asked(&mut sys, "$SYS.REQ.ACCOUNT.A.CONNS", &json!({}))["conns"], 1);
    let subs = asked(&mut sys, "$SYS.REQ.ACCOUNT.A.SUBSZ", &json!({}));
    assert!(subs["data"]["subscriptions_list"].to_string().contains("\"subject\":\"x\""), "{subs}");
    assert_eq!(asked(&mut sys, "$SYS.REQ.ACCOUNT.A.JSZ", &json!({}))["data"]["name"], "A");
    let none = asked(&mut sys, "$SYS.REQ.ACCOUNT.Z.INFO", &json!({}));
    assert_eq!(none["error"], json!({"code": 500, "description": "Account Z does not exist"}));
    let none = asked(&mut sys, "$SYS.REQ.ACCOUNT.$G.JSZ", &json!({}));
    assert!(std::env::var_os("SUBLOG_BINARY").is_none() || none["error"]["code"] == 500, "{none}");
}

#[test]
fn a_server_is_asked_by_its_domain() {
    let configured = start(&WATCHED.replace("jetstream: enabled\naccounts", "jetstream { domain: hub }\naccounts"));
    let mut sys = configured.user("sys");
    let stats = asked(&mut sys, "$SYS.REQ.SERVER.PING", &json!({"domain": "hub"}));
    assert_eq!(stats["server"]["domain"], "hub", "{stats}");
    sys.send("SUB _INBOX.d 5\r\nPUB $SYS.REQ.SERVER.PING _INBOX.d 18\r\n{\"domain\":\"other\"}\r\n");
    sys.expect_nothing();
}

#[test]
fn other_accounts_ask_about_themselves_alone() {
    let configured = start(WATCHED);
    let (mut a, _sys) = (configured.user("a"), configured.user("sys"));
    let own = asked(&mut a, "$SYS.REQ.SERVER.PING.CONNZ", &json!({"acc": "$SYS"}));
    assert_eq!(own["data"]["num_connections"], 1, "{own}");
    assert_eq!(asked(&mut a, "$SYS.REQ.ACCOUNT.PING.STATZ", &json!({}))["data"]["account_statz"][0]["acc"], "A");
    for subject in
        ["$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.ACCOUNT.$SYS.CONNZ", "$SYS.REQ.ACCOUNT.A.INFO"]
    {
        assert!(is_nobody(&ask(&mut a, subject, "")), "{subject}");
    }
}

#[test]
fn who_comes_and_goes_is_told() {
    let configured = start(WATCHED);
    let mut sys = configured.user("sys");
    sys.send("SUB $SYS.ACCOUNT.A.> 1\r\nSUB $SYS.SERVER.*.CLIENT.AUTH.ERR 2\r\nSUB $SYS.SERVER.*.STATSZ 3\r\n");
    sys.sync();
    let event = |sys: &mut RawClient, suffix: &str| loop {
        let message = sys.message();
        if message.subject.ends_with(suffix) {
            return serde_json::from_slice::<Value>(&message.payload).unwrap();
        }
    };
    let mut a = configured.user("a");
    a.publish("x", "1234");
    a.sync();
    let came = event(&mut sys, ".CONNECT");
    assert_eq!(came["type"], "io.nats.server.advisory.v1.client_connect");
    assert_eq!((&came["client"]["acc"], &came["client"]["user"]), (&"A".into(), &"a".into()), "{came}");
    drop(a);
    let went = event(&mut sys, ".DISCONNECT");
    assert_eq!((&went["reason"], &went["sent"]["bytes"]), (&"Client Closed".into(), &4.into()), "{went}");
    let mut stranger = configured.server.raw();
    stranger.send("CONNECT {\"user\":\"a\",\"pass\":\"wrong\"}\r\nPING\r\n");
    stranger.expect_err("Authorization Violation");
    assert_eq!(event(&mut sys, ".AUTH.ERR")["reason"], "Authentication Failure");
    // And how the server does, as long as somebody listens.
    assert!(event(&mut sys, ".STATSZ")["statsz"]["connections"].is_number());
}

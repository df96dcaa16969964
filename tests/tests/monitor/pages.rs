//! What all pages have in common, and those that say that something is not there.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::{Value, json};
use sublog_tests::{clock, http};

use crate::{named, refused, server};

const PAGES: [&str; 13] = [
    "varz",
    "connz",
    "subsz",
    "subscriptionsz",
    "routez",
    "gatewayz",
    "leafz",
    "accountz",
    "accstatz",
    "jsz",
    "healthz",
    "ipqueuesz",
    "streamz",
];

#[test]
fn every_page_is_json_and_is_counted() {
    let server = server(&[]);
    for page in PAGES {
        let page = server.monitor(&format!("/{page}"));
        assert!(page.is_object(), "{page}");
    }
    assert_eq!(http::get(server.monitor_address(), "/raftz"), (404, "No Raft nodes registered".to_owned()));
    assert_eq!(http::get(server.monitor_address(), "/varz/"), (404, "404 page not found\n".to_owned()));
    let (status, index) = http::get(server.monitor_address(), "/");
    assert_eq!(status, 200);
    for page in PAGES.iter().filter(|page| **page != "subscriptionsz") {
        assert!(index.contains(&format!("href=\"{page}\"")), "{page} is not in {index}");
    }
    let counts = server.monitor("/varz")["http_req_stats"].take();
    let expected = json!({
        "/": 1, "/varz": 2, "/connz": 1, "/subsz": 2, "/routez": 1, "/gatewayz": 1, "/leafz": 1, "/accountz": 1,
        "/accstatz": 1, "/jsz": 1, "/healthz": 1,
    });
    assert_eq!(counts, expected);
}

#[test]
fn headers_and_methods_are_those_of_a_web_server() {
    let server = server(&[]);
    let ask = |request: &str| {
        let mut stream = TcpStream::connect(server.monitor_address()).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let page = ask("GET /varz?callback=f").to_lowercase();
    assert!(
        page.contains("content-type: application/json") && page.contains("access-control-allow-origin: *"),
        "{page}"
    );
    assert!(page.split_once("\r\n\r\n").unwrap().1.starts_with("{\n  \"server_id\""), "{page}");
    assert!(ask("POST /connz").starts_with("HTTP/1.1 200"));
    let head = ask("HEAD /varz");
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    // Nothing that a browser or a scanner sends ends the server.
    for path in ["/connz?sort=%ff%fe", "/connz?%", "/connz?sort=cid&&=&;", "/connz?subs=1&subs=0", "/../varz", "/%2e"] {
        assert!(ask(&format!("GET {path}")).starts_with("HTTP/1.1 "), "{path}");
    }
    assert_eq!(server.monitor("/healthz")["status"], "ok");
}

#[test]
fn a_base_path_stands_before_all_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("base.conf");
    std::fs::write(
        &config,
        "http_base_path: \"nats//x/\"\nserver_tags: [\"Site:CERN\", b]\nserver_metadata { a: b }\n",
    )
    .unwrap();
    let server = server(&["-c", config.to_str().unwrap()]);
    let varz = server.monitor("/nats/x/varz");
    assert_eq!((&varz["http_base_path"], &varz["tags"]), (&json!("nats//x/"), &json!(["site:cern", "b"])));
    assert_eq!(varz["metadata"], json!({"a": "b"}));
    assert!(varz["config_digest"].as_str().unwrap().starts_with("sha256:"), "{varz}");
    let (status, index) = http::get(server.monitor_address(), "/nats/x");
    assert!(status == 200 && index.contains("href=\"x/varz\""), "{status} {index}");
    for path in ["/", "/varz", "/nats/x/", "/nats", "/nats/xvarz"] {
        assert_eq!(http::get(server.monitor_address(), path).0, 404, "{path}");
    }
}

#[test]
fn bad_words_are_told_in_the_words_people_search_for() {
    let server = server(&[]);
    for (path, text) in [
        ("/connz?auth=yes", "Error decoding boolean for 'auth': strconv.ParseBool: parsing \"yes\": invalid syntax"),
        ("/connz?cid=-1", "Error decoding uint64 for 'cid': strconv.ParseUint: parsing \"-1\": invalid syntax"),
        ("/connz?limit=a%22", "Error decoding int for 'limit': strconv.Atoi: parsing \"a\\\"\": invalid syntax"),
        ("/connz?state=x", "Error decoding state for x"),
        ("/subsz?test=a.*", "invalid test subject, must be valid publish subject: a.*"),
        ("/accountz?acc=x", "Account x does not exist"),
        ("/jsz?offset=x", "Error decoding int for 'offset': strconv.Atoi: parsing \"x\": invalid syntax"),
    ] {
        assert_eq!(refused(&server, path), text);
    }
    for path in ["routez?subs=x", "gatewayz?accs=x", "leafz?subs=x", "accstatz?unused=x", "healthz?details=x"] {
        assert!(refused(&server, &format!("/{path}")).starts_with("Error decoding boolean for "), "{path}");
    }
}

#[test]
fn the_server_as_a_whole_is_measured() {
    let server = server(&["--capture", "off", "-n", "mine"]);
    let before = server.monitor("/varz");
    let mut client = named(&server, "busy");
    client.send("SUB a 1\r\n");
    // Work for more than a second, so that it shows in a measurement of one.
    let busy = clock::until("processor time", || {
        for _ in 0..2000 {
            client.publish("a", "hello");
        }
        client.flush();
        let varz = server.monitor("/varz");
        (varz["cpu"].as_f64()? > 1.0).then_some(varz)
    });
    assert_eq!(before["cpu"].as_f64().unwrap().clamp(0.0, 6400.0), before["cpu"].as_f64().unwrap());
    assert!(busy["mem"].as_u64().unwrap() > 1_000_000, "{busy}");
    assert!(busy["in_msgs"].as_u64() >= Some(2000) && busy["in_msgs"] == busy["out_msgs"], "{busy}");
    assert_eq!((&busy["in_client_msgs"], &busy["out_client_bytes"]), (&busy["in_msgs"], &busy["out_bytes"]));
    assert_eq!((&busy["server_name"], &busy["version"], &busy["proto"]), (&json!("mine"), &json!("2.15.1"), &json!(1)));
    assert_eq!(busy["http_port"], server.monitor_address().port());
    let none = json!({"clients": 0, "routes": 0, "gateways": 0, "leafs": 0});
    assert_eq!((&busy["slow_consumer_stats"], &busy["stale_connection_stats"]), (&none, &none));
    let account = server.monitor("/accstatz")["account_statz"][0].take();
    assert_eq!((&account["acc"], &account["conns"]), (&json!("$G"), &json!(1)));
    let total = server.monitor("/varz");
    assert_eq!((&account["received"]["msgs"], &account["sent"]["bytes"]), (&total["in_msgs"], &total["out_bytes"]));
    assert_eq!(account["received"]["routes"], json!({"msgs": 0, "bytes": 0}));
}

#[test]
fn a_reload_changes_when_and_what_was_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("reloaded.conf");
    std::fs::write(&config, "server_tags: [one]\n").unwrap();
    let mut server = server(&["-c", config.to_str().unwrap()]);
    let before = server.monitor("/varz");
    std::fs::write(&config, "server_tags: [two]\nmax_payload: 1000\n").unwrap();
    server.signal(Signal::HUP);
    server.log_line("Reloaded server configuration");
    let after = server.monitor("/varz");
    assert_eq!((&after["tags"], &after["max_payload"]), (&json!(["two"]), &json!(1000)));
    assert_ne!(after["config_digest"], before["config_digest"]);
    let time = |page: &Value| page["config_load_time"].as_str().unwrap().to_owned();
    assert!(time(&after) > time(&before), "{} {}", time(&before), time(&after));
}

#[test]
fn a_lame_duck_is_not_healthy() {
    let mut server = server(&["--lame_duck_duration", "30s", "--lame_duck_grace_period", "20s"]);
    let client = named(&server, "stays");
    assert_eq!(http::get(server.monitor_address(), "/healthz").0, 200);
    server.signal(Signal::USR2);
    server.log_line("Entering lame duck mode");
    let (status, body) = http::get(server.monitor_address(), "/healthz?js-server-only=1&details=1");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["status"], &body["errors"][0]["type"]), (500, &json!("error"), &json!("CONNECTION")));
    drop(client);
}

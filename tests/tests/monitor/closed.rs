//! Connections that are gone.

use serde_json::json;
use sublog_tests::Seen;

use crate::{named, names, server, until_closed};

#[test]
fn each_way_to_end_has_its_reason() {
    let server = server(&["--user", "u", "--pass", "p", "--max_payload", "100", "--max_connections", "2"]);
    let login = r#"CONNECT {"verbose":false,"user":"u","pass":"p"}"#;
    let ends: [(&str, &str); 7] = [
        ("CONNECT {\"user\":\"u\",\"pass\":\"x\"}\r\n", "Authentication Failure"),
        ("LOGIN\r\nNONSENSE\r\n", "Protocol Violation"),
        ("LOGIN\r\nPUB a 200\r\n", "Maximum Message Payload Exceeded"),
        ("LOGIN\r\nPUB a 1\r\nxyz\r\n", "Protocol Violation"),
        ("CONNECT {\"protocol\":9}\r\n", "Bad Client Protocol Version"),
        ("CONNECT {\"no_responders\":true,\"headers\":false}\r\n", "No Responders Requires Headers"),
        ("", "Authentication Timeout"),
    ];
    for (n, (words, reason)) in ends.iter().enumerate() {
        let mut client = server.raw();
        client.send(words.replace("LOGIN", login));
        while !matches!(client.next(), Seen::Closed) {}
        let page = until_closed(&server, n + 1);
        assert_eq!(page["connections"][n]["reason"], *reason, "{words:?}: {page}");
    }
    let held: Vec<_> = (0..2).map(|_| server.raw()).collect();
    let mut third = server.raw();
    third.expect_err("maximum connections exceeded");
    let page = until_closed(&server, ends.len() + 1);
    assert_eq!(page["connections"][ends.len()]["reason"], "Maximum Connections Exceeded");
    drop(held);
    until_closed(&server, ends.len() + 3);

    let by_reason = server.monitor("/connz?state=closed&sort=reason");
    let reasons: Vec<&str> =
        by_reason["connections"].as_array().unwrap().iter().map(|c| c["reason"].as_str().unwrap()).collect();
    assert!(reasons.is_sorted(), "{reasons:?}");
    let by_stop = server.monitor("/connz?state=closed&sort=stop&limit=1");
    let stop = by_stop["connections"][0]["stop"].as_str().unwrap();
    let all = server.monitor("/connz?state=closed");
    let all = all["connections"].as_array().unwrap();
    assert!(all.iter().all(|c| c["stop"].as_str().unwrap() <= stop), "{by_stop}");
    assert!(all.iter().all(|c| c["stop"].as_str().unwrap() >= c["start"].as_str().unwrap()), "{all:?}");
}

#[test]
fn what_a_connection_did_stays_known() {
    let server = server(&["--capture", "off"]);
    let mut gone = named(&server, "gone");
    gone.send("SUB a 1\r\nSUB b q 2\r\nSUB c 3\r\nUNSUB 3\r\nPUB a 2\r\nhi\r\n");
    assert_eq!(gone.flush().len(), 1);
    drop(gone);
    let stays = named(&server, "stays");
    let page = until_closed(&server, 1);
    let seen = &page["connections"][0];
    assert_eq!((&seen["reason"], &seen["subscriptions"]), (&json!("Client Closed"), &json!(2)));
    assert_eq!((&seen["in_msgs"], &seen["out_msgs"], &seen["out_bytes"]), (&json!(1), &json!(1), &json!(2)));
    assert!(seen["subscriptions_list"].is_null());
    let page = server.monitor("/connz?state=closed&subs=detail");
    let mut list = page["connections"][0]["subscriptions_list_detail"].as_array().unwrap().clone();
    list.sort_by_key(|subscription| subscription["sid"].to_string());
    let cid = &seen["cid"];
    assert_eq!(
        list,
        [
            json!({"subject": "a", "sid": "1", "msgs": 1, "cid": cid}),
            json!({"subject": "b", "qgroup": "q", "sid": "2", "msgs": 0, "cid": cid}),
        ]
    );
    assert_eq!(names(&server.monitor("/connz?state=any")), ["gone", "stays"]);
    assert_eq!(names(&server.monitor("/connz?state=open")), ["stays"]);
    assert_eq!(names(&server.monitor(&format!("/connz?state=any&cid={cid}"))), ["gone"]);
    assert_eq!(names(&server.monitor(&format!("/connz?cid={cid}"))), [""; 0]);
    // What it sent and got still counts.
    let varz = server.monitor("/varz");
    assert_eq!((&varz["in_msgs"], &varz["out_msgs"], &varz["total_connections"]), (&json!(1), &json!(1), &json!(2)));
    drop(stays);
}

#[test]
fn only_so_many_are_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("few.conf");
    std::fs::write(&config, "max_closed_clients: 3\n").unwrap();
    let server = server(&["-c", config.to_str().unwrap()]);
    for n in 1..=5 {
        drop(named(&server, &n.to_string()));
        sublog_tests::clock::until("the end of a connection", || {
            let page = server.monitor("/connz?state=closed");
            (names(&page).last() == Some(&n.to_string().as_str())).then_some(())
        });
    }
    assert_eq!(names(&server.monitor("/connz?state=closed")), ["3", "4", "5"]);
}

//! Connections that are there: orders, filters, pages, subscriptions, counts.

use serde_json::{Value, json};
use sublog_tests::clock;

use crate::{named, names, refused, server};

#[test]
fn every_order_is_the_order_of_what_it_names() {
    let server = server(&["--capture", "off"]);
    let mut clients: Vec<_> = ["one", "two", "three"].iter().map(|name| named(&server, name)).collect();
    let [one, two, three] = clients.as_mut_slice() else { panic!("three clients") };
    one.send("SUB a 1\r\nSUB b 2\r\nSUB c 3\r\n");
    two.send("SUB a 1\r\n");
    three.send("SUB b 1\r\nSUB c 2\r\n");
    one.sync();
    two.sync();
    three.sync();
    // Three: most messages in; two: most bytes in; one gets most of all.
    for _ in 0..6 {
        three.publish("b", "x");
    }
    two.publish("a", vec![b'y'; 1000]);
    two.sync();
    three.sync();
    for client in [&mut *one, &mut *two, &mut *three] {
        client.flush();
    }
    for (sort, order) in [
        ("", ["one", "two", "three"]),
        ("cid", ["one", "two", "three"]),
        ("start", ["one", "two", "three"]),
        ("subs", ["one", "three", "two"]),
        ("msgs_to", ["one", "three", "two"]),
        ("msgs_from", ["three", "two", "one"]),
        ("bytes_from", ["two", "three", "one"]),
        ("uptime", ["three", "two", "one"]),
    ] {
        let page = server.monitor(&format!("/connz?sort={sort}"));
        assert_eq!(names(&page), order, "{sort}");
    }
    let bytes_to = server.monitor("/connz?sort=bytes_to");
    assert_eq!(names(&bytes_to), ["one", "two", "three"]);
    let (last, idle) = (server.monitor("/connz?sort=last"), server.monitor("/connz?sort=idle"));
    let times = |page: &Value| -> Vec<String> {
        page["connections"].as_array().unwrap().iter().map(|c| c["last_activity"].to_string()).collect()
    };
    assert!(times(&last).is_sorted_by(|a, b| a >= b), "{last}");
    assert!(times(&idle).is_sorted(), "{idle}");
    for sort in ["rtt", "pending"] {
        assert_eq!(server.monitor(&format!("/connz?sort={sort}"))["num_connections"], 3);
    }
    assert_eq!(refused(&server, "/connz?sort=size"), "invalid sorting option: size");
    assert_eq!(refused(&server, "/connz?sort=stop"), "sort by stop only valid on closed connections");
}

#[test]
fn pages_hold_at_the_ends_of_numbers() {
    let server = server(&["--capture", "off"]);
    let clients: Vec<_> = (0..5).map(|n| named(&server, &n.to_string())).collect();
    for (offset, limit, shown) in [
        ("0", "2", &["0", "1"][..]),
        ("4", "2", &["4"]),
        ("5", "2", &[]),
        ("3", "0", &["3", "4"]),
        ("-1", "-1", &["0", "1", "2", "3", "4"]),
        ("9223372036854775807", "9223372036854775807", &[]),
        ("-9223372036854775808", "9223372036854775807", &["0", "1", "2", "3", "4"]),
        ("1", "9223372036854775807", &["1", "2", "3", "4"]),
    ] {
        for page in ["connz", "connz?state=any"] {
            let joint = if page.contains('?') { '&' } else { '?' };
            let page = server.monitor(&format!("/{page}{joint}offset={offset}&limit={limit}"));
            assert_eq!(names(&page), shown, "{offset} {limit}");
            assert_eq!((&page["total"], &page["num_connections"]), (&json!(5), &json!(shown.len())));
        }
    }
    let text = refused(&server, "/connz?offset=9223372036854775808");
    assert_eq!(
        text,
        "Error decoding int for 'offset': strconv.Atoi: parsing \"9223372036854775808\": value out of range"
    );
    drop(clients);
}

#[test]
fn one_connection_is_found_by_its_id_user_or_account() {
    let server = server(&["--user", "ann", "--pass", "secret"]);
    let mut client = server.raw();
    client.hello(r#"{"verbose":false,"pedantic":false,"user":"ann","pass":"secret","name":"mine"}"#);
    let page = server.monitor("/connz");
    assert!(page["connections"][0]["authorized_user"].is_null(), "nobody asked for it: {page}");
    let cid = page["connections"][0]["cid"].as_u64().unwrap();
    let page = server.monitor(&format!("/connz?auth=1&cid={cid}"));
    assert_eq!((&page["limit"], &page["connections"][0]["authorized_user"]), (&json!(1), &json!("ann")));
    for (asked, found) in [
        ("user=ann", 1),
        ("user=bob", 0),
        ("acc=$G", 1),
        ("acc=other", 0),
        ("mqtt_client=x", 0),
        ("cid=12345", 0),
        ("state=closed", 0),
    ] {
        assert_eq!(server.monitor(&format!("/connz?{asked}"))["num_connections"], found, "{asked}");
    }
    assert!(!server.monitor("/connz?auth=1&subs=detail").to_string().contains("secret"));
    assert!(!server.monitor("/varz").to_string().contains("secret"));
}

#[test]
fn subscriptions_are_listed_with_their_deliveries() {
    let server = server(&[]);
    let mut client = named(&server, "subscriber");
    client.send("SUB a.* 1\r\nSUB a.b group 2\r\nSUB a.c 3\r\nUNSUB 3 10\r\nSUB $REPLAY.last.1.z.> 4\r\n");
    client.sync();
    let mut publisher = named(&server, "publisher");
    publisher.publish("a.b", "1");
    publisher.publish("a.c", "2");
    publisher.sync();
    client.flush();
    let page = clock::until("counted deliveries", || {
        let page = server.monitor("/connz?subs=detail&sort=subs&limit=1");
        (page["connections"][0]["subscriptions_list_detail"].as_array()?.iter().any(|s| s["msgs"] == 2)).then_some(page)
    });
    let mut list = page["connections"][0]["subscriptions_list_detail"].as_array().unwrap().clone();
    list.sort_by_key(|subscription| subscription["sid"].to_string());
    let cid = &page["connections"][0]["cid"];
    assert_eq!(
        list,
        [
            json!({"subject": "a.*", "sid": "1", "msgs": 2, "cid": cid}),
            json!({"subject": "a.b", "qgroup": "group", "sid": "2", "msgs": 1, "cid": cid}),
            json!({"subject": "a.c", "sid": "3", "msgs": 1, "max": 10, "cid": cid}),
            json!({"subject": "$REPLAY.last.1.z.>", "sid": "4", "msgs": 0, "cid": cid}),
        ]
    );
    let page = server.monitor("/connz?subs=1");
    let mut subjects: Vec<&str> =
        page["connections"][0]["subscriptions_list"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["$REPLAY.last.1.z.>", "a.*", "a.b", "a.c"]);
    assert!(page["connections"][1]["subscriptions_list"].is_null(), "a publisher has none: {page}");

    let tested = |test: &str| server.monitor(&format!("/subsz?subs=1&test={test}"))["total"].take();
    assert_eq!((tested("a.b"), tested("a.x"), tested("b")), (json!(2), json!(1), json!(0)));
    let page = server.monitor("/subsz?subs=1&offset=1&limit=2");
    assert_eq!((&page["total"], page["subscriptions_list"].as_array().unwrap().len()), (&json!(4), 2));
    assert_eq!(page["subscriptions_list"][0]["account"], "$G");
    assert_eq!(server.monitor("/subsz?subs=1&acc=other")["total"], 0);
    assert!(server.monitor("/subsz")["subscriptions_list"].is_null());
}

#[test]
fn caches_are_counted_where_they_are() {
    let server = server(&["--capture", "off"]);
    let mut subscriber = named(&server, "subscriber");
    subscriber.send("SUB a 1\r\nSUB * 2\r\nSUB b q 3\r\nSUB b q 4\r\n");
    subscriber.sync();
    let mut publisher = named(&server, "publisher");
    for _ in 0..50 {
        publisher.publish("a", "");
        publisher.publish("b", "");
    }
    publisher.sync();
    subscriber.send("UNSUB 4\r\n");
    subscriber.flush();
    let page = server.monitor("/subsz");
    let counts = ["num_subscriptions", "num_inserts", "num_removes", "num_cache", "num_matches", "max_fanout"];
    assert_eq!(counts.map(|name| page[name].as_u64().unwrap()), [3, 4, 1, 2, 100, 2], "{page}");
    assert_eq!((page["avg_fanout"].as_f64(), page["cache_hit_rate"].as_f64()), (Some(2.0), Some(0.98)), "{page}");
    drop(publisher);
    clock::until("a cache that is gone", || (server.monitor("/subsz")["num_cache"] == 0).then_some(()));
    assert_eq!(server.monitor("/subsz")["cache_hit_rate"].as_f64(), Some(0.98));
}

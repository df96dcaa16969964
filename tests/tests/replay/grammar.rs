//! `$REPLAY.<where>.<filter>`: every form, its edges, and what is refused.

use sublog_tests::clock;

use crate::{fill, replayed, server};

const COUNT: usize = 10;

fn from(first: usize) -> Vec<String> {
    (first..COUNT).map(|n| n.to_string()).collect()
}

#[test]
fn every_place_to_begin() {
    let server = server(&[]);
    fill(&server, "g.a", COUNT);
    let now = clock::wall();
    // Each replay ends with a message of its own on a subject that the others do not read, so that counts stay.
    for (at, (place, expected)) in [
        ("all".to_owned(), from(0)),
        ("seq.0".to_owned(), from(0)),
        ("seq.1".to_owned(), from(0)),
        ("seq.7".to_owned(), from(6)),
        ("seq.10".to_owned(), from(9)),
        ("seq.007".to_owned(), from(6)),
        ("since.1h".to_owned(), from(0)),
        ("since.90s".to_owned(), from(0)),
        ("since.15m".to_owned(), from(0)),
        ("since.7d".to_owned(), from(0)),
        ("since.100000d".to_owned(), from(0)),
        ("time.0".to_owned(), from(0)),
        (format!("time.{}", now.as_secs() - 3600), from(0)),
        (format!("time.{}", now.as_millis() - 3_600_000), from(0)),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = server.client();
        client.publish(&format!("ends.{at}"), "");
        client.subscribe(&format!("$REPLAY.{place}.g.a"), "1");
        let seen: Vec<String> = client.messages(expected.len()).iter().map(|m| m.text().to_owned()).collect();
        assert_eq!(seen, expected, "from {place}");
    }
}

#[test]
fn the_last_so_many_of_a_rare_subject() {
    let server = server(&[]);
    let mut client = server.client();
    for n in 0..20_000 {
        if n % 4000 == 17 {
            client.publish("rare.x", n.to_string());
        }
        client.publish(&format!("common.{}", n % 10), "x");
    }
    client.sync();
    let rare = ["17", "4017", "8017", "12017", "16017"];
    for (count, expected) in [(1, &rare[4..]), (3, &rare[2..]), (5, &rare[..]), (6, &rare[..]), (u64::MAX, &rare[..])] {
        let mut client = server.client();
        client.subscribe(&format!("$REPLAY.last.{count}.rare.*"), "1");
        let seen: Vec<String> = client.messages(expected.len()).iter().map(|m| m.text().to_owned()).collect();
        assert_eq!(seen, expected, "last {count}");
    }
    // None of the past: only what comes.
    let mut client = server.client();
    client.subscribe("$REPLAY.last.0.rare.x", "1");
    client.sync();
    client.publish("rare.x", "new");
    assert_eq!(client.message().text(), "new");
}

#[test]
fn a_place_that_is_still_to_come_waits_for_it() {
    let server = server(&[]);
    fill(&server, "g.a", COUNT);
    let mut client = server.client();
    client.subscribe("$REPLAY.seq.13.g.>", "1");
    client.subscribe(&format!("$REPLAY.time.{}.g.>", clock::wall().as_secs() + 3600), "2");
    client.sync();
    for n in 11..=14 {
        client.publish("g.a", n.to_string());
    }
    client.sync();
    let mut seen: Vec<(String, String)> =
        client.messages(2).into_iter().map(|m| (m.sid.clone(), m.text().to_owned())).collect();
    // A time to come is the end of the log: what is published after it is new to that reader, or not yet due.
    seen.retain(|(sid, _)| sid == "1");
    assert!(seen.iter().all(|(_, text)| text == "13" || text == "14"), "{seen:?}");
}

#[test]
fn since_and_time_cut_between_messages() {
    let server = server(&[]);
    fill(&server, "g.a", 3);
    let between = clock::wall() + std::time::Duration::from_millis(2);
    clock::until("next milliseconds", || (clock::wall() > between + std::time::Duration::from_millis(2)).then_some(()));
    fill(&server, "g.b", 3);
    let mut client = server.client();
    client.subscribe(&format!("$REPLAY.time.{}.>", between.as_millis()), "1");
    let subjects: Vec<String> = client.messages(3).into_iter().map(|m| m.subject).collect();
    assert_eq!(subjects, ["g.b", "g.b", "g.b"]);
    // Nothing is younger than no time at all, but what comes is.
    let mut client = server.client();
    client.subscribe("$REPLAY.since.0s.g.>", "1");
    client.sync();
    client.publish("g.c", "new");
    assert_eq!(client.message().subject, "g.c");
}

#[test]
fn filters_choose_as_for_any_subscription() {
    let server = server(&[]);
    let mut client = server.client();
    let subjects = ["cms.a", "cms.a.b", "cms.b.c", "atlas.a", "cms.*", "cms.a.b.c", "cms"];
    for subject in subjects {
        client.publish(subject, subject);
    }
    client.sync();
    for (filter, end, expected) in [
        ("cms.a", "cms.a", &["cms.a"][..]),
        ("cms.*", "cms.end", &["cms.a", "cms.*"]),
        ("cms.>", "cms.end2.x", &["cms.a", "cms.a.b", "cms.b.c", "cms.*", "cms.a.b.c"]),
        ("*.a", "end.a", &["cms.a", "atlas.a"]),
        ("cms.*.c", "cms.end.c", &["cms.b.c"]),
        ("all", "all", &[]),
    ] {
        let seen = replayed(&mut client, &format!("$REPLAY.all.{filter}"), end);
        let seen: Vec<&String> = seen.iter().filter(|text| subjects.contains(&text.as_str())).collect();
        assert_eq!(seen, expected, "{filter}");
    }
}

#[test]
fn what_cannot_be_obeyed_is_refused_with_the_grammar() {
    let server = server(&[]);
    let mut client = server.client();
    for bad in [
        "$REPLAY",
        "$REPLAY.all",
        "$REPLAY.everything.a",
        "$REPLAY.seq.5",
        "$REPLAY.seq.x.a",
        "$REPLAY.seq.-1.a",
        "$REPLAY.seq.18446744073709551616.a",
        "$REPLAY.last.a",
        "$REPLAY.since.6w.a",
        "$REPLAY.since.a",
        "$REPLAY.since.99999999999999999d.a",
        "$REPLAY.time.yesterday.a",
        "$REPLAY.time.9999999999999999.a",
        "$REPLAY.*.a",
        "$REPLAY.>",
        "$REPLAY.seq.*.a",
    ] {
        client.subscribe(bad, "1");
        let (messages, errors) = client.flush_with_errors();
        assert!(messages.is_empty(), "{messages:?}");
        let [text] = &errors[..] else { panic!("{bad}: {errors:?}") };
        assert!(text.starts_with("Invalid Replay Subject") && text.contains("since.<90s|15m|6h|7d>"), "{bad}: {text}");
    }
    client.send("SUB $REPLAY.all.a crew 1\r\n");
    let (_, errors) = client.flush_with_errors();
    assert!(matches!(&errors[..], [text] if text.contains("queue groups")), "{errors:?}");
    client.send("SUB $REPLAY.all.a..b 1\r\n");
    assert_eq!(client.flush_with_errors().1, ["Invalid Subject"]);
    // The sid is still free.
    client.subscribe("$REPLAY.all.a", "1");
    client.publish("a", "x");
    assert_eq!(client.message().text(), "x");
}

#[test]
fn the_farthest_sequence_is_no_special_case() {
    let server = server(&[]);
    fill(&server, "g.a", COUNT);
    let mut client = server.client();
    client.subscribe("$REPLAY.seq.18446744073709551615.>", "1");
    client.sync();
    client.publish("g.a", "x");
    client.expect_nothing();
}

//! Whatever the configuration: what is published in one account is delivered in another only by way of an import.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sublog_protocol::subject;
use sublog_tests::Random;

use crate::start;

const ROUNDS: u64 = 6;

fn token(number: u64) -> &'static str {
    match number {
        0 => "a",
        1 => "b",
        _ => "c",
    }
}

fn literal(random: &mut Random) -> String {
    let tokens = random.between(1, 3);
    (0..tokens).map(|_| token(random.below(3))).collect::<Vec<_>>().join(".")
}

fn filter(random: &mut Random) -> String {
    let tokens = random.between(1, 3);
    let any = |at: u64, random: &mut Random| match random.below(5) {
        3 => "*",
        4 if at + 1 == tokens => ">",
        other => token(other % 3),
    };
    (0..tokens).map(|at| any(at, random)).collect::<Vec<_>>().join(".")
}

/// From which account, which subject, with what before it.
struct Import {
    from: usize,
    subject: String,
    prefix: Option<&'static str>,
}

#[test]
fn nothing_comes_that_was_not_imported() {
    for seed in 0..ROUNDS {
        let mut random = Random::new(seed);
        let count = random.between(2, 4) as usize;
        let mut imports: Vec<Vec<Import>> = Vec::new();
        for to in 0..count {
            // Only from accounts before it, so that nothing forms a cycle.
            let mut own: Vec<Import> = Vec::new();
            for _ in 0..random.below(3) {
                if to == 0 {
                    break;
                }
                let (from, subject) = (random.below(to as u64) as usize, filter(&mut random));
                let prefix = (random.below(2) == 0).then_some("pre");
                if !own.iter().any(|other| (other.from, &other.subject) == (from, &subject)) {
                    own.push(Import { from, subject, prefix });
                }
            }
            imports.push(own);
        }
        let mut text = String::from("accounts {\n");
        for (at, own) in imports.iter().enumerate() {
            write!(
                text,
                "A{at} {{ users: [ {{ user: u{at}, password: u{at} }} ], exports: [ {{ stream: \">\" }} ], imports: [ "
            )
            .unwrap();
            for import in own {
                let prefix = import.prefix.map(|prefix| format!(", prefix: {prefix}")).unwrap_or_default();
                write!(text, "{{ stream: {{ account: A{}, subject: \"{}\" }}{prefix} }} ", import.from, import.subject)
                    .unwrap();
            }
            text.push_str("] }\n");
        }
        text.push('}');
        let configured = start(&text);
        let mut clients: Vec<_> = (0..count).map(|at| configured.user(&format!("u{at}"))).collect();
        let mut filters: Vec<Vec<String>> = Vec::new();
        for client in &mut clients {
            let own: Vec<String> = (0..3)
                .map(|at| match random.below(3) {
                    0 if at > 0 => format!("pre.{}", filter(&mut random)),
                    _ => filter(&mut random),
                })
                .collect();
            for (at, filter) in own.iter().enumerate() {
                client.subscribe(filter, &at.to_string());
            }
            client.sync();
            filters.push(own);
        }
        for round in 0..60 {
            let (from, subject) = (random.below(count as u64) as usize, literal(&mut random));
            clients[from].publish(&subject, round.to_string());
            clients[from].send("PING\r\n");
            let mut own = Vec::new();
            loop {
                match clients[from].next() {
                    sublog_tests::Seen::Pong => break,
                    sublog_tests::Seen::Message(message) => own.push(message),
                    other => panic!("{other:?}"),
                }
            }
            for to in 0..count {
                // Under which subjects it is to be seen there: once for itself, and once for each import.
                let mut names: Vec<String> = Vec::new();
                if to == from {
                    names.push(subject.clone());
                }
                for import in imports[to].iter().filter(|import| import.from == from) {
                    if subject::matches(import.subject.as_bytes(), subject.as_bytes()) {
                        names.push(
                            import.prefix.map_or_else(|| subject.clone(), |prefix| format!("{prefix}.{subject}")),
                        );
                    }
                }
                let mut expected: Vec<(String, String)> = Vec::new();
                for (sid, filter) in filters[to].iter().enumerate() {
                    for name in names.iter().filter(|name| subject::matches(filter.as_bytes(), name.as_bytes())) {
                        expected.push((sid.to_string(), name.clone()));
                    }
                }
                let got = if to == from { std::mem::take(&mut own) } else { clients[to].flush() };
                let got: Vec<(String, String)> = got.into_iter().map(|m| (m.sid, m.subject)).collect();
                let set = |list: &[(String, String)]| list.iter().cloned().collect::<BTreeSet<_>>();
                assert_eq!(set(&got), set(&expected), "seed {seed}: {subject} from A{from} to A{to}\n{text}");
                assert_eq!(got.len(), expected.len(), "seed {seed}: {subject} from A{from} to A{to}\n{text}");
            }
        }
    }
}

//! What is left to deliver, counted while everything changes.

use std::collections::BTreeMap;

use serde_json::json;
use sublog_tests::random::Random;

use super::{INBOX, pending, seq};
use crate::{Asking, server};

/// Consumers with their filters.
const CONSUMERS: [(&str, &[&str]); 4] = [("ALL", &[]), ("ONE", &["s.1"]), ("TWO", &["s.0", "s.2"]), ("WILD", &["s.*"])];

fn is_about(filters: &[&str], subject: u64) -> bool {
    filters.is_empty() || filters.iter().any(|filter| *filter == "s.*" || *filter == format!("s.{subject}"))
}

#[test]
fn every_count_is_right_whatever_happens() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.raw.subscribe(INBOX, "2");
    js.stream_of(json!({}), 0);
    for (name, filters) in CONSUMERS {
        js.consumer(name, json!({ "filter_subjects": filters, "max_ack_pending": -1 }));
    }
    // The stream as it should be, number to subject, and where each consumer is.
    let (mut held, mut last) = (BTreeMap::new(), 0_u64);
    let mut next = [1_u64; CONSUMERS.len()];
    let mut random = Random::new(11);
    for _ in 0..400 {
        match random.below(10) {
            0..4 => {
                for _ in 0..=random.below(3) {
                    last += 1;
                    let subject = random.below(4);
                    js.stored(&format!("s.{subject}"), &[], "x", last);
                    held.insert(last, subject);
                }
            }
            4 if last > 0 => {
                let gone = 1 + random.below(last);
                js.api("STREAM.MSG.DELETE.S", json!({ "seq": gone }));
                held.remove(&gone);
            }
            5 if random.below(5) == 0 => {
                let subject = random.below(4);
                js.api("STREAM.PURGE.S", json!({ "filter": format!("s.{subject}"), "keep": 1 }));
                let newest = held.iter().rev().find(|(_, of)| **of == subject).map(|(seq, _)| *seq);
                held.retain(|seq, of| *of != subject || Some(*seq) == newest);
            }
            _ => {
                let at = usize::try_from(random.below(CONSUMERS.len() as u64)).unwrap();
                let (name, filters) = CONSUMERS[at];
                let mut wanted = held.range(next[at]..).filter(|(_, subject)| is_about(filters, **subject));
                let most = 1 + usize::try_from(random.below(6)).unwrap();
                for message in js.there(name, most) {
                    assert_eq!(Some(seq(&message)), wanted.next().map(|(seq, _)| *seq), "{name}");
                    assert_eq!(pending(&message), wanted.clone().count() as u64, "{name}, behind {}", seq(&message));
                    next[at] = seq(&message) + 1;
                }
            }
        }
        let (name, filters) = CONSUMERS[usize::try_from(random.below(CONSUMERS.len() as u64)).unwrap()];
        let at = CONSUMERS.iter().position(|(other, _)| *other == name).unwrap();
        let left = held.range(next[at]..).filter(|(_, subject)| is_about(filters, **subject)).count();
        assert_eq!(js.consumer_info(name)["num_pending"], json!(left), "{name}, from {} of {last}", next[at]);
    }
}

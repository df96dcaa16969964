//! Batches message by message.

use proptest::prelude::*;

use super::super::reply::parse;
use super::*;

/// A batch, its publisher and the log.
struct Play {
    batch: Batch,
    out: Out,
    gaps: &'static str,
    flow: u16,
    open: usize,
}

const FLOW: fn(u64, u16) -> What = |seq, every| What::Flow { seq, every };

impl Play {
    fn new(gaps: &'static str, flow: u16, open: usize) -> Self {
        let reply = format!("p.id.{flow}.{gaps}.1.0.$FI");
        let batch = Batch::new(b"id"[..].into(), &parse(reply.as_bytes()).unwrap(), open);
        Self { batch, out: Out::new(), gaps, flow, open }
    }

    fn heard(&mut self) -> Vec<What> {
        self.out.drain(..).map(|said| said.what).collect()
    }

    fn send(&mut self, seq: u64, operation: u8, outcome: Outcome) -> Next {
        let reply = format!("p.id.{}.{}.{seq}.{operation}.$FI", self.flow, self.gaps);
        let asked = parse(reply.as_bytes()).unwrap();
        if self.batch.is_ending() {
            // To its publisher there is none of this id.
            return Next::Done;
        }
        match self.batch.arrives(&asked, reply.as_bytes(), self.open, &mut self.out) {
            Next::Store => self.batch.looked_at(&asked, reply.as_bytes(), outcome, (self.open, false), &mut self.out),
            other => other,
        }
    }

    /// The next message, which the log takes as `100 + seq` in a group of its own.
    fn add(&mut self, seq: u64) -> Next {
        self.send(seq, u8::from(seq > 1), Outcome::Taken { stream_seq: 100 + seq, group: seq })
    }

    fn stored(&mut self, group: u64) -> Next {
        self.batch.settled(group, Ok(()), self.open, &mut self.out)
    }
}

fn ended(stream_seq: u64, count: u64) -> What {
    What::Ended { id: b"id"[..].into(), stream_seq, count }
}

fn refused() -> Outcome {
    Outcome::Refused(ApiError::stream_wrong_last_sequence(7))
}

#[test]
fn what_is_told_to_be_stored_is_stored() {
    let mut play = Play::new("fail", 2, 1);
    for seq in 1..=5 {
        assert_eq!(play.add(seq), Next::Done);
    }
    assert_eq!(play.heard(), [FLOW(0, 2)], "nothing is stored");
    // Whoever is stored first has to wait for those before him.
    play.stored(2);
    play.stored(3);
    assert_eq!(play.heard(), []);
    play.stored(1);
    assert_eq!(play.heard(), [FLOW(2, 2)]);
    let last = Outcome::Taken { stream_seq: 106, group: 6 };
    assert_eq!(play.send(6, 2, last), Next::Done);
    assert_eq!((play.stored(5), play.stored(6)), (Next::Done, Next::Done));
    assert_eq!(play.heard(), []);
    assert_eq!(play.stored(4), Next::Over);
    assert_eq!(play.heard(), [ended(106, 6)]);
}

#[test]
fn the_pace_grows_and_is_shared() {
    let mut play = Play::new("fail", 600, 2);
    let mut told = Vec::new();
    let next = |play: &mut Play, seq| {
        play.add(seq);
        play.stored(seq);
        play.heard().into_iter().filter(|what| *what != FLOW(0, 1)).collect::<Vec<_>>()
    };
    for seq in 1..=255 {
        told.extend(next(&mut play, seq));
    }
    let doubled: Vec<_> = (1..=8).map(|n| FLOW((1 << n) - 1, (1_u16 << n).min(250))).collect();
    assert_eq!(told, doubled);
    // With nine others it is less, with nobody else more, and never more than the publisher wants.
    play.open = 10;
    let told: Vec<_> = (256..1200).flat_map(|seq| next(&mut play, seq)).collect();
    assert_eq!(told.get(..4).unwrap(), [FLOW(505, 125), FLOW(630, 62), FLOW(692, 50), FLOW(742, 50)]);
    play.open = 1;
    play.flow = 100;
    let most = (1200..9000).flat_map(|seq| next(&mut play, seq)).fold(0, |most, what| match what {
        What::Flow { every, .. } => most.max(every),
        other => panic!("{other:?}"),
    });
    assert_eq!(most, 500);
    let (mut few, mut silent) = (Play::new("fail", 3, 1), Play::new("fail", 3, 1));
    few.add(1);
    assert_eq!(few.heard(), [FLOW(0, 3)]);
    let reply = b"p.id.3.fail.1.0.$FI";
    let taken = Outcome::Taken { stream_seq: 1, group: 1 };
    silent.batch.looked_at(&parse(reply).unwrap(), reply, taken, (1, true), &mut silent.out);
    assert_eq!(silent.heard(), []);
}

#[test]
fn one_look_is_one_group() {
    let mut play = Play::new("fail", 10, 1);
    for seq in 1..=25 {
        play.send(seq, u8::from(seq > 1), Outcome::Taken { stream_seq: seq, group: 7 });
    }
    play.heard();
    assert!(!play.batch.is_idle());
    play.stored(7);
    assert_eq!(play.heard(), [FLOW(20, 10)], "only the last of them");
    assert!(play.batch.is_idle());
    play.send(26, 4, refused());
    assert_eq!(play.heard(), [What::Gap { expected: 26, seq: 27 }, ended(25, 25)]);
}

#[test]
fn gaps_end_a_batch_or_do_not() {
    let mut play = Play::new("fail", 10, 1);
    play.add(1);
    assert_eq!(play.add(4), Next::Done, "the first is not stored yet");
    assert_eq!(play.heard(), [FLOW(0, 10), What::Gap { expected: 2, seq: 4 }]);
    assert_eq!(play.add(5), Next::Done);
    assert_eq!(play.send(2, 2, refused()), Next::Done);
    assert_eq!(play.heard(), [], "what comes now is not looked at");
    assert_eq!(play.stored(1), Next::Over);
    assert_eq!(play.out.front().unwrap().reply, b"p.id.10.fail.4.1.$FI"[..].into());
    assert_eq!(play.heard(), [ended(101, 1)]);

    let mut play = Play::new("ok", 2, 1);
    play.add(1);
    assert_eq!(play.add(4), Next::Done);
    play.stored(1);
    assert_eq!(play.heard(), [FLOW(0, 2), What::Gap { expected: 2, seq: 4 }]);
    play.stored(4);
    assert_eq!(play.heard(), [FLOW(4, 2)]);
    // A ping that comes first says the same, and counts.
    assert_eq!(play.send(6, 4, refused()), Next::Done);
    assert_eq!(play.heard(), [What::Gap { expected: 5, seq: 7 }, FLOW(6, 2)]);
    assert_eq!(play.send(6, 4, refused()), Next::Done);
    assert_eq!(play.heard(), [FLOW(6, 2)]);
    // Back is no way.
    assert_eq!(play.add(6), Next::Over);
    assert_eq!(play.heard(), [What::Gap { expected: 7, seq: 6 }, ended(104, 6)]);
}

#[test]
fn errors_end_a_batch_or_do_not() {
    let mut play = Play::new("fail", 10, 1);
    assert_eq!(play.send(1, 0, refused()), Next::Over);
    let error = ApiError::stream_wrong_last_sequence(7);
    assert_eq!(play.heard(), [FLOW(0, 10), What::Refused(error.clone())]);

    let mut play = Play::new("fail", 10, 1);
    play.add(1);
    assert_eq!(play.send(2, 1, refused()), Next::Done);
    assert_eq!(play.heard(), [FLOW(0, 10), What::Error { seq: 2, error: error.clone() }]);
    assert_eq!(play.stored(1), Next::Over);
    assert_eq!(play.heard(), [ended(101, 1)]);

    let mut play = Play::new("ok", 2, 1);
    for seq in 1..=3 {
        assert_eq!(play.send(seq, u8::from(seq > 1), refused()), Next::Done);
    }
    let told = play.heard();
    let says = |seq| What::Error { seq, error: error.clone() };
    assert_eq!(told, [FLOW(0, 2), says(1), says(2), FLOW(2, 2), says(3)], "nobody waits for what never comes");
    assert_eq!(play.send(4, 2, refused()), Next::Over);
    assert_eq!(play.heard(), [says(4), ended(0, 3)]);
}

#[test]
fn duplicates_wait_for_what_they_are_duplicates_of() {
    let mut play = Play::new("fail", 2, 1);
    play.add(1);
    play.send(2, 1, Outcome::Duplicate { group: Some(2) });
    play.send(3, 1, Outcome::Duplicate { group: None });
    assert_eq!(play.heard(), [FLOW(0, 2)]);
    play.stored(1);
    assert_eq!(play.heard(), []);
    play.stored(2);
    assert_eq!(play.heard(), [FLOW(2, 2)]);
    play.send(4, 1, Outcome::Duplicate { group: None });
    assert_eq!(play.heard(), [FLOW(4, 2)]);
    assert_eq!(play.send(5, 2, Outcome::Duplicate { group: None }), Next::Over);
    assert_eq!(play.heard(), [ended(101, 5)]);
}

#[test]
fn what_the_log_cannot_store_ends_it() {
    let mut play = Play::new("ok", 10, 1);
    play.add(1);
    play.add(2);
    play.heard();
    let error = ApiError::stream_store_failed("the message log has failed");
    let told = play.batch.settled(1, Err(error.clone()), 1, &mut play.out);
    assert_eq!((told, play.heard()), (Next::Over, vec![What::Refused(error)]));
    assert_eq!(play.stored(9), Next::Done, "a group of another");
}

#[test]
fn one_that_only_ends_is_not_counted() {
    let mut play = Play::new("fail", 10, 1);
    play.add(1);
    play.add(2);
    play.heard();
    assert_eq!(play.send(3, 3, refused()), Next::Done);
    play.stored(1);
    assert_eq!(play.heard(), []);
    assert_eq!(play.stored(2), Next::Over);
    assert_eq!(play.out.front().unwrap().reply, b"p.id.10.fail.3.3.$FI"[..].into());
    assert_eq!(play.heard(), [ended(102, 2)]);
    let mut only = Play::new("fail", 10, 1);
    assert_eq!(only.send(1, 2, Outcome::Taken { stream_seq: 5, group: 1 }), Next::Done);
    assert_eq!(only.stored(1), Next::Over);
    assert_eq!(only.heard(), [ended(5, 1)], "no word about the pace");
}

/// One thing that happens to a batch.
#[derive(Debug, Clone)]
enum Event {
    /// A message comes, so many numbers later than the next.
    Message {
        ahead: u64,
        what: u8,
    },
    Ping {
        ahead: u64,
    },
    /// One of the groups that wait is stored.
    Stored {
        which: usize,
    },
    /// What comes is of another group from here on.
    Look,
    Open {
        others: usize,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let ahead = || prop_oneof![9 => Just(0_u64), 1 => 1..4_u64];
    prop_oneof![
        8 => (ahead(), 0..8_u8).prop_map(|(ahead, what)| Event::Message { ahead, what }),
        1 => ahead().prop_map(|ahead| Event::Ping { ahead }),
        4 => any::<usize>().prop_map(|which| Event::Stored { which }),
        3 => Just(Event::Look),
        1 => (1..600_usize).prop_map(|others| Event::Open { others }),
    ]
}

/// Checks what is told against what is stored, the numbers of which are not in `waiting`; what was told last.
fn check(told: &[What], waiting: &[(u64, u64)], before: u64) -> u64 {
    let mut last = before;
    for what in told {
        let reached = match what {
            What::Flow { seq, every } => {
                assert!((1..=500).contains(every) && *seq >= last, "{what:?} after {last}");
                last = *seq;
                *seq
            }
            What::Ended { count, .. } => *count,
            What::Gap { .. } | What::Error { .. } | What::Refused(_) => 0,
        };
        assert!(waiting.iter().all(|(_, seq)| *seq > reached), "{what:?} with {waiting:?}");
    }
    last
}

proptest! {
    #[test]
    fn nothing_is_told_that_is_not_stored(
        events in proptest::collection::vec(event(), 1..200), gaps: bool, flow in 1..700_u16, mut by_last: bool
    ) {
        let mut play = Play::new(if gaps { "ok" } else { "fail" }, flow, 1);
        // Groups and numbers of what waits, in the order in which it came.
        let (mut waiting, mut seq, mut group, mut told) = (Vec::<(u64, u64)>::new(), 0, 1, 0);
        let mut over = false;
        for event in events {
            let next = match event {
                Event::Message { ahead, what } => {
                    seq += 1 + ahead;
                    let last = play.batch.last;
                    let takes = play.batch.ending.is_none() && (gaps || last + 1 == seq);
                    let outcome = match what {
                        0 => refused(),
                        1 => Outcome::Duplicate { group: None },
                        2 => Outcome::Duplicate { group: Some(group) },
                        _ => Outcome::Taken { stream_seq: 1000 + seq, group },
                    };
                    if takes && what > 1 {
                        waiting.push((group, seq));
                    }
                    play.send(seq, u8::from(seq > 1), outcome)
                }
                Event::Ping { ahead } => {
                    seq += ahead;
                    play.send(seq.max(1), 4, refused())
                }
                Event::Stored { which } => {
                    let Some(&(done, _)) = waiting.get(which % waiting.len().max(1)) else { continue };
                    // What is under way now is not stored before the look is over.
                    if done == group {
                        group += 1;
                    }
                    waiting.retain(|(group, _)| *group != done);
                    play.stored(done)
                }
                Event::Look => {
                    group += 1;
                    Next::Done
                }
                Event::Open { others } => {
                    play.open = others;
                    Next::Done
                }
            };
            told = check(&play.heard(), &waiting, told);
            if next == Next::Over {
                over = true;
                break;
            }
            seq = seq.max(play.batch.last);
        }
        // However it was left: it ends, and all that was taken is stored then.
        if !over {
            let mut next = play.send(seq + 2, 3, refused());
            told = check(&play.heard(), &waiting, told);
            while next != Next::Over {
                prop_assert!(!waiting.is_empty(), "nothing is waited for, and it does not end after {told}");
                let done = if by_last { waiting[waiting.len() - 1].0 } else { waiting[0].0 };
                by_last = !by_last;
                waiting.retain(|(group, _)| *group != done);
                next = play.stored(done);
                told = check(&play.heard(), &waiting, told);
            }
        }
    }
}

#[test]
fn what_replaces_others_is_done_later_than_what_comes_before_and_behind_it() {
    let mut play = Play::new("ok", 10, 1);
    for (seq, operation, group) in [(1, 0, 7), (2, 1, 8), (3, 2, 7)] {
        play.send(seq, operation, Outcome::Taken { stream_seq: seq, group });
    }
    assert_eq!(play.heard(), [FLOW(0, 10)]);
    assert!(play.batch.waits_for(7) && play.batch.waits_for(8) && play.batch.is_ending());
    assert_eq!((play.stored(7), play.batch.waits_for(8)), (Next::Done, true));
    assert_eq!(play.stored(8), Next::Over);
    assert_eq!(play.heard(), [ended(3, 3)]);
}

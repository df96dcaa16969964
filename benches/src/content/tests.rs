//! The books must notice every kind of loss; the frames must be what a NATS server reads.

use super::*;

fn message(number: u64) -> Stamp {
    Stamp { number, publisher: 0, end: false }
}

fn end(total: u64) -> Stamp {
    Stamp { number: total, publisher: 0, end: true }
}

fn enter(share: Share, stamps: &[Stamp]) -> Result<Ledger> {
    let mut ledger = Ledger::new(share, 1);
    for stamp in stamps {
        ledger.enter(*stamp)?;
    }
    Ok(ledger)
}

#[test]
fn a_stamp_survives_and_nonsense_is_refused() {
    let stamp = Stamp { number: u64::MAX, publisher: u32::MAX, end: true };
    assert_eq!(Stamp::of(&stamp.bytes()).unwrap(), stamp);
    assert_eq!(Stamp::of(&message(7).bytes()).unwrap(), message(7));
    assert!(Stamp::of(&[0; 15]).is_err());
    assert!(Stamp::of(&[0xff; 16]).is_err());
}

#[test]
fn all_in_order_is_the_only_thing_that_passes() {
    let good = enter(Share::All, &[message(0), message(1), end(2)]).unwrap();
    assert!(good.is_closed());
    assert_eq!(good.received(), 2);
    for bad in [
        &[message(1)][..],
        &[message(0), message(0)],
        &[message(0), message(2)],
        &[message(0), end(2)],
        &[message(0), end(0)],
        &[end(0), message(0)],
        &[Stamp { publisher: 1, ..message(0) }],
    ] {
        assert!(enter(Share::All, bad).is_err(), "{bad:?}");
    }
    assert!(!enter(Share::All, &[message(0)]).unwrap().is_closed());
}

#[test]
fn parts_must_be_ordered_and_together_whole() {
    let even = enter(Share::Part, &[message(0), message(200), end(202)]).unwrap();
    let rest: Vec<Stamp> = (1..202).filter(|number| *number != 200).map(message).chain([end(202)]).collect();
    let odd = enter(Share::Part, &rest).unwrap();
    prove_parts(&[even, odd]).unwrap();

    assert!(enter(Share::Part, &[message(5), message(4)]).is_err(), "reordered");
    assert!(enter(Share::Part, &[message(5), message(5)]).is_err(), "repeated to one");
    assert!(enter(Share::Part, &[message(5), end(5)]).is_err(), "more than published");
    let of = |stamps: &[Stamp]| enter(Share::Part, stamps).unwrap();
    let missing = prove_parts(&[of(&[message(0), end(3)]), of(&[message(2), end(3)])]);
    assert!(missing.unwrap_err().to_string().contains("1 of 3 missing"));
    let twice = prove_parts(&[of(&[message(0), message(1), end(2)]), of(&[message(1), end(2)])]);
    assert!(twice.unwrap_err().to_string().contains("1 came twice"));
    assert!(prove_parts(&[of(&[end(0)]), of(&[end(1)])]).is_err(), "different totals");
}

#[test]
fn frames_are_numbered_and_their_subjects_counted() {
    let content = Content::on_many("m.", 2, 20);
    let mut batch = Batch::new(&content, 3);
    let (bytes, count) = batch.frames(99, 2);
    assert_eq!(count, 2);
    let frames: Vec<&[u8]> = bytes.chunks_exact(bytes.len() / 2).collect();
    assert!(frames[0].starts_with(b"PUB m.99 20\r\n") && frames[0].ends_with(b"\r\n"));
    assert!(frames[1].starts_with(b"PUB m.00 20\r\n"));
    let payload = &frames[1][13..33];
    let stamp = Stamp::of(payload).unwrap();
    assert_eq!(stamp, Stamp { number: 100, publisher: 3, end: false });
    let got = Delivered { subject: b"m.00", reply: None, headers: b"", payload };
    content.verify(got, stamp, STAMP_BYTES).unwrap();
    assert!(content.verify(Delivered { subject: b"m.01", ..got }, stamp, STAMP_BYTES).is_err());
    assert!(content.verify(Delivered { payload: &payload[..19], ..got }, stamp, STAMP_BYTES).is_err());
    let mut altered = payload.to_vec();
    altered[19] ^= 1;
    assert!(content.verify(Delivered { payload: &altered, ..got }, stamp, STAMP_BYTES).is_err());
    assert_eq!(batch.frames(0, u64::MAX).1, batch.capacity());
}

#[test]
fn answers_are_wanted_under_the_number() {
    let content = Content::on("a", 16);
    let mut batch = Batch::answered(&content, 0, "_INBOX.x.");
    let (bytes, _) = batch.frames(1234, 1);
    assert!(bytes.starts_with(b"PUB a _INBOX.x.0000001234 16\r\n"), "{}", String::from_utf8_lossy(bytes));
    assert_eq!(Stamp::of(&bytes[30..46]).unwrap(), message(1234));
}

#[test]
fn the_end_is_framed() {
    let frame = end_frame(2, 5);
    assert!(frame.starts_with(b"PUB bench.end 16\r\n") && frame.ends_with(b"\r\n"));
    assert_eq!(Stamp::of(&frame[18..34]).unwrap(), Stamp { number: 5, publisher: 2, end: true });
}

#[test]
fn a_long_payload_is_compared_now_and_then() {
    let content = Content::on("a", 1024);
    let altered = vec![0; 1024];
    let got = Delivered { subject: b"a", reply: None, headers: b"", payload: &altered };
    assert!(content.verify(got, message(16), STAMP_BYTES).is_err());
    assert!(content.verify(got, message(17), STAMP_BYTES).is_ok());
}

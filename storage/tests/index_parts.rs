//! Parts of the subject index: what goes in comes out, and no bit of a file can make them say something wrong.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]

use std::collections::BTreeMap;

use bytes::Bytes;
use sublog_storage::index::{Entry, Part, PartError, PartInfo, PartWriteError, PartWriter, Source};

type Subjects = BTreeMap<Vec<u8>, Vec<u64>>;

const FIRST: u64 = 1000;

fn source(next_seq: u64) -> Source {
    Source { first_seq: FIRST, next_seq, nonce: 0x1234_5678 }
}

fn write(subjects: &Subjects, expiries: &[(i64, u64)], next_seq: u64) -> (Bytes, PartInfo) {
    let mut file = Vec::new();
    let out = |bytes: &[u8]| {
        file.extend_from_slice(bytes);
        Ok(())
    };
    let mut writer = PartWriter::new(out, 3, vec![source(next_seq)], subjects.len() as u64).unwrap();
    for (subject, numbers) in subjects {
        writer.begin(subject).unwrap();
        numbers.iter().for_each(|number| writer.number(*number).unwrap());
    }
    for (at, number) in expiries {
        writer.expiry(*at, *number).unwrap();
    }
    let info = writer.finish().unwrap();
    assert_eq!(info.bytes, file.len() as u64);
    (file.into(), info)
}

fn numbers(entry: &Entry<'_>) -> Result<Vec<u64>, PartError> {
    let mut found = Vec::new();
    let mut postings = entry.postings();
    while let Some(number) = postings.next()? {
        found.push(number);
    }
    Ok(found)
}

/// Everything a part can be asked, against what was put in. An error is an answer, a wrong answer is not.
/// `true` if it never said that it was damaged.
fn answers_right(file: Bytes, subjects: &Subjects, expiries: &[(i64, u64)], absent: &[&str]) -> bool {
    let Ok(part) = Part::open(file) else { return false };
    let mut whole = true;
    let mut check = |answer: Result<(), PartError>| whole &= answer.is_ok();
    for (subject, wanted) in subjects {
        check(part.get(subject).and_then(|entry| {
            let entry = entry.unwrap();
            assert_eq!((entry.count(), entry.first()), (wanted.len() as u64, wanted[0]));
            assert_eq!(entry.last(), wanted[wanted.len() - 1]);
            let middle = wanted[wanted.len() / 2];
            assert_eq!(entry.rank(middle)?, wanted.len() as u64 / 2);
            assert_eq!(entry.iter_from(middle)?.next()?, Some(middle));
            assert_eq!(numbers(&entry)?, *wanted);
            Ok(())
        }));
    }
    for subject in absent {
        check(part.get(subject.as_bytes()).map(|entry| assert!(entry.is_none())));
    }
    let walk = || {
        let mut cursor = part.iter_from(b"")?;
        for (subject, wanted) in subjects {
            let (key, entry) = cursor.get().unwrap();
            assert_eq!((key, entry.count()), (subject.as_slice(), wanted.len() as u64));
            cursor.advance()?;
        }
        assert!(cursor.get().is_none());
        Ok(())
    };
    check(walk());
    for (i, wanted) in expiries.iter().enumerate() {
        check(part.expiry(i as u64).map(|found| assert_eq!(found, Some(*wanted))));
        check(part.expiries_before(wanted.0).map(|found| {
            assert_eq!(found, expiries.iter().filter(|(at, _)| *at < wanted.0).count() as u64);
        }));
    }
    check(part.expiry(expiries.len() as u64).map(|found| assert_eq!(found, None)));
    whole
}

fn small() -> (Subjects, Vec<(i64, u64)>) {
    let mut subjects = Subjects::new();
    for i in 0..25_u64 {
        let numbers = (0..1 + i % 6).map(|k| FIRST + i + k * (30 + i)).collect();
        subjects.insert(format!("orders.{}.state", i * 7).into_bytes(), numbers);
    }
    subjects.insert(b"hot".to_vec(), (0..200).map(|i| FIRST + i * 2).collect());
    (subjects, (0..5).map(|i| (i * i - 7, FIRST + 9 * i as u64)).collect())
}

/// Several leaves, two levels above them, a list of several blocks, tables of several blocks.
fn large() -> (Subjects, Vec<(i64, u64)>) {
    let mut subjects = Subjects::new();
    for i in 0..3000_u64 {
        // Long and all alike at the end, so that few fit a block and parents become full.
        let subject = format!("{:04}.{}", i * 3, "x".repeat(if i % 2 == 0 { 700 } else { 5 }));
        subjects.insert(subject.into_bytes(), vec![FIRST + i]);
    }
    subjects.insert(b"hot".to_vec(), (0..9000).map(|i| FIRST + i * 2).collect());
    subjects.insert(b"hotter".to_vec(), (0..400_000).map(|i| FIRST + i).collect());
    (subjects, (0..700).map(|i| (i / 2, FIRST + i as u64)).collect())
}

#[test]
fn what_went_in_comes_out() {
    for ((subjects, expiries), next) in [(small(), 3000), (large(), 500_000), ((Subjects::new(), vec![]), 1000)] {
        let (file, info) = write(&subjects, &expiries, next);
        let part = Part::open(file.clone()).unwrap();
        assert_eq!(part.info(), &info);
        assert_eq!((info.level, info.subjects), (3, subjects.len() as u64));
        assert_eq!(info.records, subjects.values().map(|numbers| numbers.len() as u64).sum::<u64>());
        assert_eq!((part.first_seq(), part.next_seq()), (FIRST, next));
        assert!(answers_right(file, &subjects, &expiries, &["", "hos", "hott", "orders.7", "zz"]));
        assert_eq!(part.expiries_before(i64::MIN).unwrap(), 0);
        assert_eq!(part.expiries_before(i64::MAX).unwrap(), expiries.len() as u64);
    }
}

#[test]
fn cursors_seek_forward_from_anywhere() {
    let (subjects, _) = large();
    let (file, _) = write(&subjects, &[], 500_000);
    let part = Part::open(file).unwrap();
    let keys: Vec<&Vec<u8>> = subjects.keys().collect();
    for step in [1, 2, 3, 17, 400] {
        let mut cursor = part.iter_from(b"").unwrap();
        for i in (0..9100).step_by(step) {
            let target = format!("{i:04}.");
            cursor.seek(target.as_bytes()).unwrap();
            let wanted = keys.get(keys.partition_point(|key| key.as_slice() < target.as_bytes()));
            assert_eq!(cursor.get().map(|(key, _)| key), wanted.map(|key| key.as_slice()), "{target} by {step}");
            assert_eq!(
                part.iter_from(target.as_bytes()).unwrap().get().map(|(key, _)| key),
                cursor.get().map(|(k, _)| k)
            );
        }
    }
}

#[test]
fn lists_of_several_blocks_are_entered_anywhere() {
    let (subjects, _) = large();
    let (file, _) = write(&subjects, &[], 500_000);
    let part = Part::open(file).unwrap();
    for name in ["hot", "hotter"] {
        let wanted = &subjects[name.as_bytes()];
        let entry = part.get(name.as_bytes()).unwrap().unwrap();
        for seq in (0..FIRST + 450_000).step_by(997) {
            let rank = wanted.partition_point(|number| *number < seq);
            assert_eq!(entry.rank(seq).unwrap(), rank as u64, "{name} {seq}");
            let mut postings = entry.iter_from(seq).unwrap();
            assert_eq!(postings.next().unwrap(), wanted.get(rank).copied(), "{name} {seq}");
            postings.seek(seq).unwrap();
            assert_eq!(postings.back().unwrap(), rank.checked_sub(1).map(|rank| wanted[rank]), "{name} {seq}");
        }
        let mut backward = entry.iter_from(u64::MAX).unwrap();
        for number in wanted.iter().rev() {
            assert_eq!(backward.back().unwrap(), Some(*number));
        }
        assert_eq!(backward.back().unwrap(), None);
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_does_no_harm() {
    let (subjects, expiries) = small();
    let (file, _) = write(&subjects, &expiries, 3000);
    let absent = ["", "a", "orders.8.state", "zz"];
    let mut harmless = 0;
    for bit in 0..file.len() * 8 {
        let mut wrong = file.to_vec();
        wrong[bit / 8] ^= 1 << (bit % 8);
        harmless += usize::from(answers_right(wrong.into(), &subjects, &expiries, &absent));
    }
    // A block of the bloom filter that is not believed costs nothing but a look into the dictionary: 16 rows of 32 bytes
    // at most, and the block's header.
    assert!(harmless > 0 && harmless <= (16 * 32 + 8) * 8, "{harmless} of {} flips were not seen", file.len() * 8);
}

#[test]
fn a_flipped_bit_in_a_large_part_is_an_error_or_does_no_harm() {
    let (mut subjects, mut expiries) = large();
    subjects.retain(|subject, _| subject.starts_with(b"hot") || subject < &b"0700".to_vec());
    subjects.insert(b"hotter".to_vec(), (0..9000).map(|i| FIRST + i).collect());
    expiries.truncate(300);
    let (file, _) = write(&subjects, &expiries, 500_000);
    assert!(file.len() > 80_000);
    for at in (0..file.len()).step_by(61) {
        let mut wrong = file.to_vec();
        wrong[at] ^= 1 << (at % 8);
        answers_right(wrong.into(), &subjects, &expiries, &["", "a", "zz"]);
    }
}

#[test]
fn a_file_cut_short_does_not_open() {
    let (subjects, expiries) = small();
    let (file, _) = write(&subjects, &expiries, 3000);
    for len in 0..file.len() {
        assert!(matches!(Part::open(file.slice(..len)), Err(PartError::Damaged { .. })), "cut to {len}");
    }
    let mut longer = file.to_vec();
    longer.push(0);
    assert!(Part::open(longer.into()).is_err());
}

#[test]
fn a_later_version_is_not_damage() {
    let (file, _) = write(&small().0, &[], 3000);
    let mut later = file.to_vec();
    later[8] = 2;
    let crc = crc32fast::hash(&later[..28]);
    later[28..32].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(Part::open(later.into()).unwrap_err(), PartError::Version { found: 2 });
}

#[test]
fn what_is_out_of_order_is_refused() {
    let out = |_: &[u8]| Ok(());
    let begin = || PartWriter::new(out, 0, vec![source(1010)], 10).unwrap();
    let order = |result: Result<(), PartWriteError>| assert!(matches!(result, Err(PartWriteError::Order)));
    let mut writer = begin();
    writer.begin(b"b").unwrap();
    writer.number(1005).unwrap();
    order(writer.number(1005));
    order(writer.number(1010));
    order(writer.number(999));
    order(writer.begin(b"b"));
    writer.begin(b"c").unwrap();
    writer.number(1001).unwrap();
    order(writer.expiry(5, 1010));
    writer.expiry(5, 1001).unwrap();
    order(writer.expiry(5, 1001));
    order(writer.begin(b"d"));
    for sources in [vec![], vec![source(900)], vec![source(1010), source(1010)]] {
        assert!(matches!(PartWriter::new(out, 0, sources, 0), Err(PartWriteError::Order)));
    }
    let mut room = 50_usize;
    let full = |bytes: &[u8]| {
        room = room.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(())
    };
    let mut writer = PartWriter::new(full, 0, vec![source(1010)], 10).unwrap();
    writer.begin(b"a").unwrap();
    writer.number(1001).unwrap();
    assert!(
        matches!(writer.finish(), Err(PartWriteError::Io(error)) if error.kind() == std::io::ErrorKind::StorageFull)
    );
}

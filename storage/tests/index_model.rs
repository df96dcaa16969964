//! Every question to the index, over random parts, merges, removals and filters, against a plain list of records.
//! `PROPTEST_CASES` makes it longer.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use sublog_storage::index::{
    Active, FilterSet, Found, Liveness, Matches, OpenSegment, Part, PartWriter, Snapshot, Source, SubjectFilter,
    SubjectState, merge,
};

/// What was removed, plainly.
#[derive(Debug, Clone, Default)]
struct Removals {
    floor: u64,
    numbers: BTreeSet<u64>,
}

impl Removals {
    fn has(&self, seq: u64) -> bool {
        seq < self.floor || self.numbers.contains(&seq)
    }
}

impl Liveness for Removals {
    fn floor(&self) -> u64 {
        self.floor
    }

    fn is_removed(&self, seq: u64) -> bool {
        assert!(seq >= self.floor, "asked about {seq} below the floor {}", self.floor);
        self.numbers.contains(&seq)
    }

    fn removed_in(&self, first_seq: u64, last_seq: u64) -> bool {
        self.numbers.range(first_seq..=last_seq).next().is_some()
    }

    fn removed_count(&self, first_seq: u64, last_seq: u64) -> u64 {
        self.numbers.range(first_seq..=last_seq).count() as u64
    }
}

#[derive(Debug, Clone)]
struct Case {
    /// Number, subject.
    records: Vec<(u64, String)>,
    /// Indices of records at which a segment begins.
    cuts: BTreeSet<usize>,
    /// Pairs of neighbouring parts to merge, by place at that time.
    merges: Vec<prop::sample::Index>,
    /// What was removed before the merges, and what after.
    early: Removals,
    late: Removals,
    filters: Vec<String>,
    from: u64,
    to: u64,
    page: usize,
    open: bool,
}

fn subject() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec!["a", "b", "c", "a-", "long.er", "*"]);
    prop::collection::vec(token, 1..4).prop_map(|tokens| tokens.join("."))
}

fn filter() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => subject(),
        2 => (prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "long"]), 0..3), any::<bool>()).prop_map(
            |(mut tokens, tail)| {
                if tail || tokens.is_empty() {
                    tokens.push(">");
                }
                tokens.join(".")
            }
        ),
    ]
}

fn case(records_max: usize, subjects_max: usize) -> impl Strategy<Value = Case> {
    (prop::collection::vec(subject(), 1..subjects_max), 1..records_max)
        .prop_flat_map(|(subjects, count)| {
            let record = (prop_oneof![20 => Just(1_u64), 1 => 2..50_u64], prop::sample::select(subjects));
            (prop::collection::vec(record, count), Just(count))
        })
        .prop_flat_map(|(steps, count)| {
            let mut seq = 5;
            let records: Vec<(u64, String)> = steps
                .into_iter()
                .map(|(step, subject)| {
                    seq += step;
                    (seq, subject)
                })
                .collect();
            let numbers = || 0..seq + 10;
            let removals = |most| prop::collection::btree_set(0..seq + 10, 0..most);
            let floors = prop_oneof![2 => Just((0, 0)), 1 => (0..seq + 10, 0..seq + 10)];
            let removed = (removals(count / 2 + 1), removals(count / 2 + 1), floors, 0..3_u8);
            let plan = (
                prop::collection::btree_set(0..count, 0..8),
                prop::collection::vec(any::<prop::sample::Index>(), 0..4),
                prop::collection::vec(filter(), 1..4),
                (numbers(), numbers(), 1..20_usize, any::<bool>()),
            );
            (Just(records), removed, plan)
        })
        .prop_map(|(records, (early, late, floors, kind), (cuts, merges, filters, (from, to, page, open)))| {
            let (early, late) = if kind == 0 { Default::default() } else { (early, late) };
            let early = Removals { floor: floors.0, numbers: early };
            let numbers = early.numbers.union(&late).copied().collect();
            let late = Removals { floor: floors.1.max(early.floor), numbers };
            Case { records, cuts, merges, early, late, filters, from, to, page, open }
        })
}

/// A segment's index in memory and a file with its subjects.
fn active(records: &[(u64, String)]) -> (Active, Vec<u8>) {
    let mut file = Vec::new();
    let mut active = Active::new(records.first().map_or(1, |(seq, _)| *seq));
    for (seq, subject) in records {
        file.extend_from_slice(b"??");
        let at = u32::try_from(file.len()).unwrap();
        file.extend_from_slice(subject.as_bytes());
        active.push(&file, *seq, at, subject.as_bytes()).unwrap();
    }
    (active, file)
}

/// When a record goes, for some of them.
fn expiry(seq: u64) -> Option<(i64, u64)> {
    seq.is_multiple_of(3).then(|| ((seq as i64 * 7919) % 100 - 50, seq))
}

fn sealed(records: &[(u64, String)]) -> Arc<Part> {
    let (active, file) = active(records);
    let mut out = Vec::new();
    let source = Source { first_seq: active.first_seq(), next_seq: active.next_seq(), nonce: active.first_seq() * 31 };
    let write = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        Ok(())
    };
    let mut writer = PartWriter::new(write, 0, vec![source], active.subjects()).unwrap();
    active.write_into(&file, &mut writer).unwrap();
    let expiries: BTreeSet<_> = records.iter().filter_map(|(seq, _)| expiry(*seq)).collect();
    expiries.into_iter().for_each(|(at, seq)| writer.expiry(at, seq).unwrap());
    writer.finish().unwrap();
    Arc::new(Part::open(Bytes::from(out)).unwrap())
}

fn merged(pair: &[Arc<Part>], removals: &Removals) -> Arc<Part> {
    let mut out = Vec::new();
    let write = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        Ok(())
    };
    let parts: Vec<&Part> = pair.iter().map(Arc::as_ref).collect();
    let info = merge(&parts, 1, |seq| !removals.has(seq), write).unwrap();
    let part = Part::open(Bytes::from(out)).unwrap();
    assert_eq!(*part.info(), info);
    let expiries: Vec<_> = (0..info.expiries).map(|i| part.expiry(i).unwrap().unwrap()).collect();
    let mut wanted: Vec<_> = pair
        .iter()
        .flat_map(|part| (0..part.info().expiries).map(|i| part.expiry(i).unwrap().unwrap()))
        .filter(|(_, seq)| !removals.has(*seq))
        .collect();
    wanted.sort_unstable();
    assert_eq!(expiries, wanted);
    Arc::new(part)
}

fn matches(filter: &str, subject: &str) -> bool {
    let mut given = subject.split('.');
    for wanted in filter.split('.') {
        match (wanted, given.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(given)) if wanted == given => {}
            _ => return false,
        }
    }
    given.next().is_none()
}

/// All numbers that a cursor comes to, dense stretches looked at record by record.
fn read(case: &Case, live: &[(u64, &str)], cursor: &mut Matches, snapshot: &Snapshot<'_>) -> Vec<u64> {
    let mut found = Vec::new();
    loop {
        let before = found.len();
        let end = cursor.page(snapshot, case.page, &mut found).unwrap();
        assert!(found.len() <= before + case.page);
        match end {
            Found::Page => assert_eq!(found.len(), before + case.page),
            Found::Dense { first, last } => found.extend(
                live.iter()
                    .filter(|(seq, subject)| {
                        (first..=last).contains(seq) && cursor.filters().matches(subject.as_bytes())
                    })
                    .map(|(seq, _)| *seq),
            ),
            Found::End => return found,
        }
    }
}

fn check(case: &Case) {
    let (sealed_records, open_records) = match case.cuts.last().filter(|_| case.open) {
        Some(cut) => case.records.split_at(*cut),
        None => (case.records.as_slice(), &[][..]),
    };
    let mut parts = Vec::new();
    let mut from = 0;
    for to in case.cuts.iter().copied().chain([sealed_records.len()]).filter(|to| *to <= sealed_records.len()) {
        if to > from {
            parts.push(sealed(&sealed_records[from..to]));
        }
        from = to;
    }
    for place in &case.merges {
        if parts.len() > 1 {
            let i = place.index(parts.len() - 1);
            let one = merged(&parts[i..i + 2], &case.early);
            parts.splice(i..i + 2, [one]);
        }
    }
    let (active, file) = active(open_records);
    let open = case.open.then_some(OpenSegment { active: &active, file: &file });
    let snapshot = Snapshot::new(&parts, open, &case.late);

    let live: Vec<(u64, &str)> =
        case.records.iter().filter(|(seq, _)| !case.late.has(*seq)).map(|(seq, s)| (*seq, s.as_str())).collect();
    let mut by_subject: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    live.iter().for_each(|(seq, subject)| by_subject.entry(subject).or_default().push(*seq));
    let state = |numbers: &Vec<u64>| SubjectState {
        count: numbers.len() as u64,
        first: numbers[0],
        last: numbers[numbers.len() - 1],
    };

    for subject in case.records.iter().map(|(_, subject)| subject.as_str()).chain(["nobody", ""]) {
        let numbers = by_subject.get(subject);
        assert_eq!(snapshot.subject_state(subject.as_bytes()).unwrap(), numbers.map(state), "{subject}");
        for to in [case.to, u64::MAX] {
            let wanted = numbers.and_then(|numbers| numbers.iter().rfind(|seq| **seq <= to).copied());
            assert_eq!(snapshot.last(subject.as_bytes(), to).unwrap(), wanted, "{subject} up to {to}");
        }
    }
    let filters = FilterSet::new(case.filters.iter().map(|f| SubjectFilter::parse(f.as_bytes()).unwrap()).collect());
    let selected = |subject: &str| case.filters.iter().any(|filter| matches(filter, subject));
    let within = |seq: &u64| (case.from..=case.to).contains(seq);
    let wanted: Vec<u64> = live.iter().filter(|(seq, s)| within(seq) && selected(s)).map(|(seq, _)| *seq).collect();
    assert_eq!(snapshot.count(&filters, case.from, case.to).unwrap(), wanted.len() as u64);
    let mut cursor = Matches::new(filters.clone(), case.from, case.to);
    assert_eq!(read(case, &live, &mut cursor, &snapshot), wanted);

    // A cursor that began before the open segment was there, and reads on when it is.
    let mut cursor = Matches::new(filters.clone(), 0, u64::MAX);
    let earlier = Snapshot::new(&parts, None, &case.late);
    let mut all = read(case, &live, &mut cursor, &earlier);
    all.extend(read(case, &live, &mut cursor, &snapshot));
    let wanted: Vec<u64> = live.iter().filter(|(_, s)| selected(s)).map(|(seq, _)| *seq).collect();
    assert_eq!(all, wanted);

    let mut subjects = Vec::new();
    let mut lasts = Vec::new();
    loop {
        let after = subjects.last().map(|(subject, _): &(Vec<u8>, SubjectState)| subject.clone());
        let page = snapshot.subjects(&filters, after.as_deref(), case.page).unwrap();
        let end = page.len() < case.page;
        subjects.extend(page);
        if end {
            break;
        }
    }
    loop {
        let after = lasts.last().map(|(subject, _): &(Vec<u8>, u64)| subject.clone());
        let page = snapshot.last_per_subject(&filters, case.to, after.as_deref(), case.page).unwrap();
        let end = page.len() < case.page;
        lasts.extend(page);
        if end {
            break;
        }
    }
    let of_subjects = by_subject.iter().filter(|(subject, _)| selected(subject));
    let wanted: Vec<_> = of_subjects.clone().map(|(s, numbers)| (s.as_bytes().to_vec(), state(numbers))).collect();
    assert_eq!(subjects, wanted);
    let wanted: Vec<_> = of_subjects
        .filter_map(|(s, numbers)| Some((s.as_bytes().to_vec(), *numbers.iter().rfind(|seq| **seq <= case.to)?)))
        .collect();
    assert_eq!(lasts, wanted);
}

proptest! {
    #[test]
    fn few_records_of_many_subjects(case in case(80, 30)) {
        check(&case);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]
    #[test]
    fn many_records_of_few_subjects(case in case(3000, 6)) {
        check(&case);
    }
}

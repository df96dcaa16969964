//! Measures the subject index: pushes into the open segment's, parts, merges, look-ups, counts, and the memory of all.
//!
//! `cargo run --release -p sublog-storage --example bench_index -- [subjects] [folder]`, one million by default. Run it
//! alone on the machine. The folder must be on a disk with about 250 bytes a subject to spare.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement reports by panicking")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sublog_storage::RealDisk;
use sublog_storage::disk::OpenMode;
use sublog_storage::index::{
    Active, FilterSet, Found, Liveness, Matches, OpenSegment, Part, PartInfo, PartWriter, Snapshot, Source,
    SubjectFilter, merge,
};

const SEGMENT_RECORDS: u64 = 1_000_000;
/// The one subject with a hundred records.
const RARE: &[u8] = b"site.000.rare";
const RARE_RECORDS: u64 = 100;
const LOOK_UPS: u64 = 100_000;

/// Nothing was removed.
struct AllThere;

impl Liveness for AllThere {
    fn floor(&self) -> u64 {
        0
    }

    fn is_removed(&self, _: u64) -> bool {
        false
    }

    fn removed_in(&self, _: u64, _: u64) -> bool {
        false
    }

    fn removed_count(&self, _: u64, _: u64) -> u64 {
        0
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let subjects: u64 = args.next().map_or(1_000_000, |arg| arg.parse().unwrap());
    let parent = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::Builder::new().prefix("sublog-index-").tempdir_in(parent).unwrap();
    println!("memory at the start: {} KiB anonymous", anonymous_kib());
    let (parts, open, open_file) = build(dir.path(), subjects);
    questions("parts of single segments", &parts, &open, &open_file, subjects);
    let merged = merge_all(dir.path(), parts);
    questions("one merged part", &merged, &open, &open_file, subjects);
    drop((merged, open, open_file));
    pushes(dir.path());
}

/// The index of an open segment, for three kinds of streams.
fn pushes(dir: &Path) {
    let records = 2 * SEGMENT_RECORDS;
    let mut random = Random(1);
    let zipf: Vec<u64> = (0..records).map(|_| random.zipf(records)).collect();
    let kinds: [(&str, &dyn Fn(u64) -> u64); 3] = [
        ("all distinct", &|i| i),
        ("1,000 subjects", &|i| (i * 7919) % 1000),
        ("Zipf over 2 M", &|i| zipf[usize::try_from(i).unwrap()]),
    ];
    println!("\nopen segment, {records} records");
    for (name, subject_of) in kinds {
        let file = subjects_file(dir, 0..records, |i, out| write_subject(out, subject_of(i)));
        let before = anonymous_kib();
        let mut active = Active::new(1);
        let (mut at, mut i, mut longest) = (0_usize, 0, Duration::ZERO);
        let whole = now();
        let mut last = whole;
        while at < file.len() {
            let len = usize::from(u16::from_le_bytes([file[at], file[at + 1]]));
            let subject = &file[at + 2..at + 2 + len];
            active.push(&file, 1 + i, u32::try_from(at + 2).unwrap(), subject).unwrap();
            at += 2 + len;
            i += 1;
            if i.is_multiple_of(64) {
                let here = now();
                longest = longest.max(here - last);
                last = here;
            }
        }
        let each = whole.elapsed().as_nanos() / u128::from(records);
        let (memory, distinct) = (active.memory_bytes() as u64, active.subjects());
        println!(
            "  {name:15} {distinct:8} distinct: {each:4} ns a push, worst 64 {longest:?}, {} B a subject, {:.1} B a record, \
             {} KiB anonymous",
            memory / distinct,
            memory as f64 / records as f64,
            anonymous_kib().saturating_sub(before)
        );
        let sorting = now();
        let snapshot_of = [];
        let open = OpenSegment { active: &active, file: &file };
        let snapshot = Snapshot::new(&snapshot_of, Some(open), &AllThere);
        let first = snapshot.subjects(&filter(">"), None, 1).unwrap();
        println!("  {:15} first question in order {:?} ({})", "", sorting.elapsed(), first.len());
        let writing = now();
        let source = Source { first_seq: 1, next_seq: active.next_seq(), nonce: 1 };
        let (part, info) = part_file(&dir.join("open.idx"), |write| {
            let mut writer = PartWriter::new(write, 0, vec![source], active.subjects()).unwrap();
            active.write_into(&file, &mut writer).unwrap();
            writer.finish().unwrap()
        });
        println!("  {:15} part written {:?}, {} B a subject", "", writing.elapsed(), info.bytes / distinct);
        drop(part);
    }
}

/// One part a segment, all subjects distinct but for the rare one; the last few records stay in the open segment.
fn build(dir: &Path, subjects: u64) -> (Vec<Arc<Part>>, Active, Bytes) {
    println!("\n{subjects} distinct subjects, parts of {SEGMENT_RECORDS} records");
    let (mut parts, mut longest, mut bytes) = (Vec::new(), Duration::ZERO, 0);
    let start = now();
    let sealed = subjects - subjects / 100;
    let mut from = 0;
    while from < sealed {
        let to = (from + SEGMENT_RECORDS).min(sealed);
        let (active, file) = segment(dir, from..to, subjects);
        let begun = now();
        let source = Source { first_seq: 1 + from, next_seq: 1 + to, nonce: from };
        let (part, info) = part_file(&dir.join(format!("{from}.idx")), |write| {
            let mut writer = PartWriter::new(write, 0, vec![source], active.subjects()).unwrap();
            active.write_into(&file, &mut writer).unwrap();
            writer.finish().unwrap()
        });
        longest = longest.max(begun.elapsed());
        bytes += info.bytes;
        parts.push(Arc::new(part));
        from = to;
    }
    let took = start.elapsed();
    println!("  {} parts in {took:?}, writing one at most {longest:?}, {} B a subject", parts.len(), bytes / sealed);
    let (active, file) = segment(dir, sealed..subjects, subjects);
    (parts, active, file)
}

fn merge_all(dir: &Path, parts: Vec<Arc<Part>>) -> Vec<Arc<Part>> {
    let begun = now();
    let refs: Vec<&Part> = parts.iter().map(Arc::as_ref).collect();
    let before = anonymous_kib();
    let mut most = 0;
    let (part, info) = part_file(&dir.join("merged.idx"), |write| {
        let mut seen = 0;
        let measured = |bytes: &[u8]| {
            seen += bytes.len();
            if seen > 1 << 20 {
                seen = 0;
                most = most.max(anonymous_kib());
            }
            write(bytes)
        };
        merge(&refs, 1, |_| true, measured).unwrap()
    });
    println!(
        "\nmerged {} parts in {:?}: {} subjects, {} B each, {} KiB anonymous while merging",
        parts.len(),
        begun.elapsed(),
        info.subjects,
        info.bytes / info.subjects,
        most.saturating_sub(before)
    );
    vec![Arc::new(part)]
}

fn questions(name: &str, parts: &[Arc<Part>], active: &Active, file: &[u8], subjects: u64) {
    let snapshot = Snapshot::new(parts, Some(OpenSegment { active, file }), &AllThere);
    println!("\n{name}, {} KiB anonymous", anonymous_kib());
    let mut random = Random(7);
    let mut subject = Vec::new();
    let mut look_up = |what: &str, question: &dyn Fn(&[u8]) -> bool, absent: bool| {
        let mut times: Vec<Duration> = (0..LOOK_UPS.min(subjects))
            .map(|_| {
                subject.clear();
                let i = random.below(subjects);
                write_subject(&mut subject, if is_rare(i, subjects) { i + 1 } else { i });
                if absent {
                    subject.push(b'~');
                }
                let begun = now();
                assert!(question(&subject) != absent);
                begun.elapsed()
            })
            .collect();
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!("  {what:22} p50 {:?}, p99 {:?}, worst {:?}", at(0.5), at(0.99), at(1.0));
    };
    look_up("last by subject", &|subject| snapshot.last(subject, u64::MAX).unwrap().is_some(), false);
    look_up("state of a subject", &|subject| snapshot.subject_state(subject).unwrap().is_some(), false);
    look_up("an absent subject", &|subject| snapshot.last(subject, u64::MAX).unwrap().is_some(), true);
    for text in [std::str::from_utf8(RARE).unwrap(), "site.007.>", "site.*.dev.00777777.temp", "*.007.*.*.*", ">"] {
        let filters = filter(text);
        let begun = now();
        let counted = snapshot.count(&filters, 0, u64::MAX).unwrap();
        let counting = begun.elapsed();
        let begun = now();
        let (mut page, mut found, mut dense) = (Vec::new(), 0, 0);
        let mut matches = Matches::new(filters.clone(), 0, u64::MAX);
        loop {
            let end = matches.page(&snapshot, 10_000, &mut page).unwrap();
            found += page.len();
            page.clear();
            match end {
                Found::Page => {}
                Found::Dense { first, last } => dense += last - first + 1,
                Found::End => break,
            }
        }
        println!(
            "  {text:26} counted {counted:8} in {counting:?}; read {found} in {:?}, {dense} left to a scan",
            begun.elapsed()
        );
    }
    let begun = now();
    let (mut after, mut listed) = (None, 0);
    while listed < 100_000 {
        let page = snapshot.subjects(&filter("site.*.*.*.temp"), after.as_deref(), 1000).unwrap();
        listed += page.len();
        after = page.last().map(|(subject, _)| subject.clone());
        if page.len() < 1000 {
            break;
        }
    }
    println!("  {listed} subjects listed by pages of 1000 in {:?}", begun.elapsed());
}

fn filter(text: &str) -> FilterSet {
    SubjectFilter::parse(text.as_bytes()).unwrap().into()
}

/// Whether record `i` has the rare subject.
fn is_rare(i: u64, subjects: u64) -> bool {
    i.is_multiple_of((subjects / RARE_RECORDS).max(2))
}

/// Subject number `i`: a thousand sites, and devices that come in no order.
fn write_subject(out: &mut Vec<u8>, i: u64) {
    let device = i.wrapping_mul(2_654_435_761) % 100_000_000;
    write!(out, "site.{:03}.dev.{device:08}.temp", i % 1000).unwrap();
}

/// The index of records `range` of a stream, and the file with their subjects.
fn segment(dir: &Path, range: std::ops::Range<u64>, subjects: u64) -> (Active, Bytes) {
    let first = range.start;
    let file = subjects_file(dir, range, |i, out| {
        if is_rare(i, subjects) { out.extend_from_slice(RARE) } else { write_subject(out, i) }
    });
    let mut active = Active::new(1 + first);
    let (mut at, mut i) = (0, first);
    while at < file.len() {
        let len = usize::from(u16::from_le_bytes([file[at], file[at + 1]]));
        active.push(&file, 1 + i, u32::try_from(at + 2).unwrap(), &file[at + 2..at + 2 + len]).unwrap();
        at += 2 + len;
        i += 1;
    }
    (active, file)
}

/// A mapped file of subjects, each behind its length. Mapped memory is not anonymous.
fn subjects_file(dir: &Path, range: std::ops::Range<u64>, subject: impl Fn(u64, &mut Vec<u8>)) -> Bytes {
    let path = dir.join("subjects");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let mut one = Vec::new();
    for i in range {
        one.clear();
        subject(i, &mut one);
        out.write_all(&u16::try_from(one.len()).unwrap().to_le_bytes()).unwrap();
        out.write_all(&one).unwrap();
    }
    out.into_inner().unwrap();
    let bytes = mapped(&path);
    std::fs::remove_file(&path).unwrap();
    bytes
}

type Out<'a> = &'a mut dyn FnMut(&[u8]) -> std::io::Result<()>;

fn part_file(path: &Path, write: impl FnOnce(Out<'_>) -> PartInfo) -> (Part, PartInfo) {
    let mut out = std::io::BufWriter::with_capacity(1 << 18, std::fs::File::create(path).unwrap());
    let info = write(&mut |bytes| out.write_all(bytes));
    out.into_inner().unwrap();
    (Part::open(mapped(path)).unwrap(), info)
}

fn mapped(path: &Path) -> Bytes {
    let len = std::fs::metadata(path).unwrap().len();
    RealDisk::shared().open(path, OpenMode::Read).unwrap().view(len).unwrap().bytes
}

fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Numbers that look random, the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// With a probability that falls about as one over the number.
    fn zipf(&mut self, end: u64) -> u64 {
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((end as f64).powf(share) as u64).min(end - 1)
    }
}

//! The corpus of the fuzz targets, run without a fuzzer, and changed copies of it: as many as fit into a second each, or into
//! `SUBLOG_FUZZ_SECONDS`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test has a clock of its own")]

mod checks;

use std::path::Path;
use std::time::{Duration, Instant};

/// An input may take this long, in a build that is not optimised, on a busy machine.
const LONGEST: Duration = Duration::from_secs(5);

/// A small repeatable generator.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 8).unwrap() % bound.max(1)
    }
}

/// Parts that get further than random bytes.
const PARTS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"'",
    b",",
    b":",
    b"=",
    b"\n",
    b"#",
    b"//",
    b"(",
    b")",
    b"$a",
    b"a",
    b"-1",
    b"0",
    b"9223372036854775807",
    b"1e400",
    b"10MB",
    b"\"1s\"",
    b"null",
    b"true",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\x81\x80\0\0\0\0",
    b"\xc1\xfe\0\x01",
    b"\x88\x82\0\0\0\0\x03\xe8",
    b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"users",
    b"tls",
    b"subjects",
    b"sources",
    b"config",
    b"nats",
    b"imports",
    b"signing_keys",
    b"{{tag(x)}}",
    b"$1",
];

fn change(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut data = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(data.len() + 1);
        match random.below(6) {
            0 if at < data.len() => data[at] ^= 1 << random.below(8),
            1 => data.truncate(at),
            2 => drop(data.splice(at..at, PARTS[random.below(PARTS.len())].iter().copied())),
            3 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
            4 => {
                let end = (at + random.below(16)).min(data.len());
                let part = data[at..end].repeat(1 + random.below(40));
                drop(data.splice(at..at, part));
            }
            _ => {
                let end = (at + random.below(16)).min(data.len());
                data.drain(at..end);
            }
        }
    }
    data.truncate(64 * 1024);
    data
}

fn run(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut seeds = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let data = std::fs::read(path).unwrap();
        check(&data);
        seeds.push(data);
    }
    assert!(seeds.len() >= 5, "{} is nearly empty", folder.display());
    let seconds = std::env::var("SUBLOG_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let seed = std::env::var("SUBLOG_FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_130);
    let mut random = Random(seed);
    let (begun, mut runs) = (Instant::now(), 0_u64);
    while begun.elapsed() < Duration::from_secs(seconds) {
        let data = change(&mut random, &seeds);
        let this = Instant::now();
        let ended = std::panic::catch_unwind(|| check(&data));
        assert!(ended.is_ok(), "{target} fell over {:?}", data.escape_ascii().to_string());
        assert!(
            this.elapsed() < LONGEST,
            "{target} took {:?} for {:?}",
            this.elapsed(),
            data.escape_ascii().to_string()
        );
        runs += 1;
    }
    println!("{target}: {runs} changed inputs, seed {seed}");
    assert!(runs > 100, "{runs}");
}

#[test]
fn corpus_of_configuration() {
    run("configuration", checks::configuration);
}

#[test]
fn corpus_of_api_json() {
    run("api_json", checks::api_json);
}

#[test]
fn corpus_of_websocket() {
    run("websocket", checks::websocket);
}

#[test]
fn corpus_of_jwt() {
    run("jwt", checks::jwt);
}

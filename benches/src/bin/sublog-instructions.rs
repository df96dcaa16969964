//! One step of the server's innermost work, to be run under `valgrind --tool=callgrind`: `.ci/instructions` does.
//!
//! `sublog-instructions STEP` makes the step ready, takes it once to warm up, and then once inside of `counted`, which is
//! the function that callgrind is told to count. It prints what the step returned.

use std::process::ExitCode;

use sublog_benches::micro::{Appending, Decoding, Encoding, Matching, Outcome, Reading};

/// The work to count, and only that.
#[inline(never)]
fn counted<T>(step: impl FnOnce() -> T) -> T {
    step()
}

fn main() -> ExitCode {
    let step = std::env::args().nth(1).unwrap_or_default();
    match run(&step) {
        Ok(result) => {
            println!("{step} {result}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sublog-instructions: {step}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(step: &str) -> Outcome<u64> {
    match step {
        "decode" => {
            let decoding = Decoding::of(1000);
            decoding.step()?;
            counted(|| decoding.step())
        }
        "match" => {
            let mut matching = Matching::among(100_000);
            matching.step();
            Ok(counted(|| matching.step()))
        }
        "encode" => {
            let mut encoding = Encoding::default();
            encoding.step(1000);
            Ok(counted(|| encoding.step(1000)))
        }
        "append" => {
            let mut appending = Appending::new()?;
            appending.step()?;
            counted(|| appending.step())
        }
        "read" => {
            let reading = Reading::in_memory(10_000)?;
            reading.step()?;
            counted(|| reading.step())
        }
        _ => Err("no such step: decode, match, encode, append, read".into()),
    }
}

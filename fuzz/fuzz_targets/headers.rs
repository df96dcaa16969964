//! Any bytes as a header block, and as data that is put into one.

#![no_main]

#[path = "../../protocol/tests/protocol/checks.rs"]
#[allow(dead_code, reason = "one file of checks serves all targets")]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::header_block(data));

//! Any bytes as a token, and as what is in one.

#![no_main]

#[path = "../../broker/tests/fuzzed/checks.rs"]
#[allow(dead_code, reason = "one file of checks serves all targets")]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::jwt(data));

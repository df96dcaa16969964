//! Any bytes as the body of a request of the JetStream API.

#![no_main]

#[path = "../../broker/tests/fuzzed/checks.rs"]
#[allow(dead_code, reason = "one file of checks serves all targets")]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::api_json(data));

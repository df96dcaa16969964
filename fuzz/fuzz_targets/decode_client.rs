//! Any bytes as the stream of a client.

#![no_main]

#[path = "../../protocol/tests/protocol/checks.rs"]
#[allow(dead_code, reason = "one file of checks serves all targets")]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::client_stream(data));

//! Any bytes as the frames of a WebSocket client; the first byte says what was agreed.

#![no_main]

#[path = "../../broker/tests/fuzzed/checks.rs"]
#[allow(dead_code, reason = "one file of checks serves all targets")]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::websocket(data));

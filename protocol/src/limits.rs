//! Default limits of the protocol, in one place.

/// Longest control line a client may send, in bytes, line end not counted.
pub const MAX_CONTROL_LINE: usize = 4096;

/// Largest message (headers and payload together) a client may publish, in bytes.
pub const MAX_PAYLOAD: usize = 1024 * 1024;

/// Bytes that may wait for one slow connection before it is closed.
pub const MAX_PENDING: usize = 64 * 1024 * 1024;

/// Longest `INFO` line that every client in use can read, in bytes including the line end: the oldest
/// Python client gives up when it has buffered this much without seeing an end of line.
pub const INFO_BYTES_MAX: usize = 1024;

/// Longest control line accepted from a server, in bytes. The list of cluster members in an `INFO` may take
/// it well beyond what clients may send.
pub const SERVER_LINE_MAX: usize = 64 * 1024;

/// Largest number of digits in a size argument. Nine digits always fit in 32 bits.
pub const SIZE_DIGITS_MAX: usize = 9;

/// Connections one server accepts unless configured otherwise.
pub const MAX_CONNECTIONS: usize = 65_536;

/// Time between pings the server sends to an idle client, in seconds.
pub const PING_INTERVAL_SECONDS: u64 = 120;

/// Pings that may stay unanswered before a connection counts as stale.
pub const PINGS_OUTSTANDING_MAX: u32 = 2;

/// Time a client has to authenticate, in seconds.
pub const AUTH_TIMEOUT_SECONDS: u64 = 2;

/// Time a write to a client may take before it counts as too slow, in seconds.
pub const WRITE_DEADLINE_SECONDS: u64 = 10;

/// Default port for clients.
pub const CLIENT_PORT: u16 = 4222;

/// Conventional port for HTTP monitoring.
pub const MONITOR_PORT: u16 = 8222;

const _: () = {
    assert!(INFO_BYTES_MAX <= MAX_CONTROL_LINE);
    assert!(MAX_CONTROL_LINE <= MAX_PAYLOAD);
    assert!(MAX_PAYLOAD < MAX_PENDING);
    assert!(MAX_CONTROL_LINE <= SERVER_LINE_MAX);
    // Sizes are summed digit by digit in a `usize` without overflow checks.
    assert!(SIZE_DIGITS_MAX == 9 && usize::BITS >= 32);
};

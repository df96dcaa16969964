//! Every bound the broker keeps, in one place. What clients can observe has nats-server's defaults.

use std::time::Duration;

/// Bytes a connection may have waiting for its socket before it counts as a slow consumer.
pub const MAX_PENDING_BYTES: usize = 64 * 1024 * 1024;
/// Connections served at once.
pub const MAX_CONNECTIONS: usize = 65_536;
/// How often the server pings a silent client.
pub const PING_INTERVAL: Duration = Duration::from_secs(120);
/// Pings that may stay unanswered before the connection is stale.
pub const PING_MAX: u32 = 2;
/// The first ping comes this soon after the connection, to measure the round trip.
pub const FIRST_PING: Duration = Duration::from_secs(2);
/// How long a socket may refuse every byte before its client counts as a slow consumer.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// How long a client may take to authenticate.
pub const AUTH_TIMEOUT: Duration = Duration::from_secs(2);
/// Lame duck mode: how long after the announcement clients keep their connections.
pub const LAME_DUCK_GRACE: Duration = Duration::from_secs(10);
/// Lame duck mode: from the announcement to the end.
pub const LAME_DUCK_DURATION: Duration = Duration::from_secs(120);
/// Pages of the monitoring endpoints, of those that grow with what there is, that are built at once; others wait.
pub const LARGE_PAGES_AT_ONCE: usize = 4;
/// Ended connections that `/connz` remembers.
pub const CLOSED_CONNECTIONS: usize = 10_000;
/// Bytes of what those had subscribed to; the oldest lists go first.
pub const CLOSED_SUBSCRIPTIONS_BYTES: usize = 16 * 1024 * 1024;
/// How long a shutdown waits for clients to take what is queued for them.
pub const SHUTDOWN_FLUSH: Duration = Duration::from_secs(2);

/// Read buffer of a connection that has something to say: the unit of batching.
pub const READ_BUFFER_BYTES: usize = 64 * 1024;
/// Read buffer of a connection that has been quiet.
pub const READ_BUFFER_IDLE_BYTES: usize = 4 * 1024;
/// Deliveries staged by one publisher before they are handed to the sockets even if its read batch goes on.
pub const STAGED_BYTES_MAX: usize = 1024 * 1024;
/// Spare staging buffers a publisher keeps for its next batch.
pub const STAGING_POOL_MAX: usize = 32;
/// What those can hold in all, in bytes.
pub const STAGING_POOL_BYTES: usize = 8 * 1024 * 1024;
/// Slots of a publisher's match cache when it starts, and at most. Powers of two.
pub const MATCH_CACHE_MIN: usize = 16;
/// See [`MATCH_CACHE_MIN`].
pub const MATCH_CACHE_MAX: usize = 4096;

/// Share of `max_pending` (in percent) above which a destination slows its publishers down.
pub const STALL_PERCENT: usize = 75;
/// The longest a publisher waits for slow destinations, per read.
pub const STALL_MAX: Duration = Duration::from_millis(10);

/// Chunks gathered into one vectored write.
pub const WRITE_CHUNKS_MAX: usize = 256;
/// Small deliveries are gathered into chunks of this size while they wait.
pub const WRITE_CHUNK_BYTES: usize = 64 * 1024;

/// Bytes a replay keeps waiting for its reader; it reads on when there are fewer.
pub const REPLAY_PENDING_BYTES: usize = 256 * 1024;
/// Log bytes one replay looks at before it lets the others have a turn.
pub const REPLAY_TURN_BYTES: usize = 1024 * 1024;
/// Payloads from this size are sent from the map; smaller ones are copied, which is cheaper than a vector entry.
pub const REPLAY_ZERO_COPY_BYTES: usize = 512;

/// Operations and deliveries of one connection before others have a turn: a few milliseconds of work.
pub const WORK_PER_TURN: usize = 16 * 1024;
/// Subscriptions that a publisher's match cache may hold in all.
pub const MATCH_CACHE_TARGETS_MAX: usize = 64 * 1024;
/// Replays one connection may run at once.
pub const REPLAYS_PER_CONNECTION_MAX: usize = 1024;
/// A publisher's encoding buffers above this are freed when it falls silent.
pub const IDLE_KEEP_BYTES: usize = 16 * 1024;

/// Flushes (PING, `+OK`) a client may have waiting for the log before the server reads no more from it.
pub const ACKS_WAITING_MAX: usize = 16 * 1024;
/// A PONG to a client whose PING overtakes its own messages waits this long for the first of them …
pub const OVERTAKING_PING_FIRST: Duration = Duration::from_millis(10);
/// … then for this much silence after the last …
pub const OVERTAKING_PING_QUIET: Duration = Duration::from_millis(5);
/// … but in all no longer than this.
pub const OVERTAKING_PING_MAX: Duration = Duration::from_secs(1);
/// Sockets the committer thread writes acknowledgements to itself, per commit; the rest goes to the runtime.
pub const ACKS_INLINE_PER_COMMIT: usize = 4;
/// Ways to the clients that the server keeps for what it says itself; more are made when more threads speak at once.
pub const IDLE_SENDERS_MAX: usize = 32;
/// Requests on `$JS.API.>` that may wait; more are dropped, and the server's log says so.
pub const API_REQUESTS_MAX: usize = 10_000;
/// Direct gets that may wait or run; as above.
pub const DIRECT_GETS_MAX: usize = 10_000;
/// Events of one consumer that may wait for its turn; more are dropped, which costs a redelivery or a request's answer.
pub const CONSUMER_EVENTS_MAX: usize = 100_000;
/// Bytes of those events; as above.
pub const CONSUMER_EVENTS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes a consumer sends before others have a turn: what fits into the processor's cache until it is written.
pub const DELIVERY_TURN_BYTES: usize = 64 * 1024;
/// A consumer's clock is read again after so many messages of a turn.
pub const DELIVERIES_A_CLOCK: u32 = 32;
/// Memory for a turn's deliveries that a thread keeps for the next one, in bytes.
pub const DELIVERY_KEEP_BYTES: usize = 256 * 1024;
/// Bytes of the log that a consumer looks at in one turn.
pub const DELIVERY_LOOK_BYTES: usize = 1024 * 1024;
/// A client with more bytes than this waiting for its socket gets no deliveries of consumers until it has caught up.
pub const DELIVERY_PENDING_BYTES: usize = 4 * 1024 * 1024;
/// Subjects of which a consumer remembers who listens.
pub const LISTENERS_KEPT_MAX: usize = 1024;

/// Requests of the system account that are answered at a time; more are dropped, and the server's log says so.
pub const SYSTEM_REQUESTS_MAX: usize = 64;

/// Logins by token that are looked at, on threads that may wait; others wait for their turn.
pub const LOGINS_AT_ONCE: usize = 16;

/// Replies of one connection that it may publish to because a request asked for them.
pub const REPLIES_TRACKED_MAX: usize = 64 * 1024;
/// Right passwords that are remembered, as digests, so that they need not be hashed again.
pub const PASSWORDS_KEPT_MAX: usize = 4096;

const _: () = assert!(MATCH_CACHE_MIN.is_power_of_two() && MATCH_CACHE_MAX.is_power_of_two());
const _: () = assert!(READ_BUFFER_IDLE_BYTES <= READ_BUFFER_BYTES);
const _: () = assert!(WRITE_CHUNKS_MAX <= 1024, "IOV_MAX");

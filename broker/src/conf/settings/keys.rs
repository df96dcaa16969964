//! Every key of a configuration, with the kind of its value and what this server does about it.
//!
//! A key moves to [`Now::Honoured`] when the feature behind it arrives; `cli/file.rs` says what it does then, and a test
//! there holds the two together. The example in `deploy/` names every key of these tables.

mod accounts;
mod jetstream;
mod links;
mod security;

pub use accounts::ACCOUNT;
pub use jetstream::JETSTREAM;
pub use links::{CLUSTER, GATEWAY, LEAFNODES, MQTT, WEBSOCKET};
pub use security::{AUTHORIZATION, PERMISSIONS, TLS, USER};

use super::schema::Kind::{
    Address, Bool, BoolMap, Duration, Each, Int, Named, OneOf, Port, Size, Text, TextMap, Texts, Word,
};
use super::schema::Now::{Honoured, Ignored, Refused};
use super::schema::{Block, Key, Kind, key};

pub(super) const NO_OCSP: &str = "nobody is asked whether certificates are revoked yet";
const NOT_YET: &str = "not built yet";
const ALONE: &str = "this server joins no others yet";

/// Subject mappings: text, or destinations with weights.
pub(super) const MAPPINGS: Kind = Each(&OneOf(&[Text, Kind::Block(&DESTINATION), Kind::Blocks(&DESTINATION)]));

/// The file itself.
pub static TOP: Block = Block {
    name: "a configuration",
    keys: &[
        key(&["sublog"], Kind::Block(&SUBLOG), Honoured),
        // Where it listens and what it is called.
        key(&["listen"], Address, Honoured),
        key(&["port"], Port, Honoured),
        key(&["host", "net"], Text, Honoured),
        key(&["server_name"], Text, Honoured),
        key(&["client_advertise"], Text, Ignored(ALONE)),
        key(&["server_tags"], Texts, Honoured),
        key(&["server_metadata"], TextMap, Honoured),
        key(&["pid_file", "pidfile"], Text, Honoured),
        key(&["ports_file_dir"], Text, Honoured),
        key(&["proxy_protocol"], Bool, Refused("every connection would begin with bytes that are no NATS")),
        key(&["lame_duck_duration"], Duration, Honoured),
        key(&["lame_duck_grace_period"], Duration, Honoured),
        // Monitoring.
        key(&["http"], Address, Honoured),
        key(&["http_port", "monitor_port"], Port, Honoured),
        key(&["https"], Address, Honoured),
        key(&["https_port"], Port, Honoured),
        key(&["http_base_path"], Text, Honoured),
        key(&["max_closed_clients"], Int, Honoured),
        key(&["prof_port"], Port, Ignored("there is no profiling port")),
        key(&["prof_block_rate"], Int, Ignored("there is no profiling port")),
        key(&["connect_error_reports"], Int, Ignored(ALONE)),
        key(&["reconnect_error_reports"], Int, Ignored(ALONE)),
        // Logging.
        key(&["debug"], Bool, Honoured),
        key(&["trace"], Bool, Honoured),
        key(&["trace_verbose"], Bool, Honoured),
        key(&["trace_headers"], Bool, Ignored("headers are not traced")),
        key(&["max_traced_msg_len"], Int, Ignored("payloads are not traced")),
        key(&["logtime"], Bool, Honoured),
        key(&["logtime_utc"], Bool, Honoured),
        key(&["log_file", "logfile"], Text, Honoured),
        key(&["log_size_limit", "logfile_size_limit"], Size, Honoured),
        key(&["log_max_num", "logfile_max_num"], Int, Honoured),
        key(&["syslog"], Bool, Honoured),
        key(&["remote_syslog"], Text, Honoured),
        // Bounds on clients.
        key(&["max_control_line"], Size, Honoured),
        key(&["max_payload"], Size, Honoured),
        key(&["max_pending"], Size, Honoured),
        key(&["max_connections", "max_conn"], Int, Honoured),
        key(&["max_subscriptions", "max_subs"], Int, Honoured),
        key(&["max_sub_tokens", "max_subscription_tokens"], Int, Ignored("subjects may have any number of tokens")),
        key(&["ping_interval"], Duration, Honoured),
        key(&["ping_max"], Int, Honoured),
        key(&["write_deadline"], Duration, Honoured),
        key(&["write_timeout"], Word(&["default", "close", "retry"]), Ignored("a client that takes nothing is closed")),
        key(&["no_fast_producer_stall"], Bool, Ignored("publishers wait for slow subscribers for a moment")),
        key(&["no_header_support"], Bool, Ignored("headers are always served")),
        key(&["disable_sublist_cache", "no_sublist_cache"], Bool, Ignored("each connection's cache is bounded")),
        // Who may do what.
        key(&["authorization"], Kind::Block(&AUTHORIZATION), Honoured),
        key(&["no_auth_user"], Text, Honoured),
        key(&["tls"], Kind::Block(&TLS), Honoured),
        key(&["allow_non_tls"], Bool, Honoured),
        key(&["ocsp"], OneOf(&[Bool, Kind::Block(&OCSP)]), Refused(NO_OCSP)),
        key(&["ocsp_cache"], OneOf(&[Bool, Kind::Block(&OCSP_CACHE)]), Ignored(NO_OCSP)),
        key(&["accounts"], Named(&ACCOUNT), Honoured),
        key(&["system_account", "system"], Text, Honoured),
        key(&["no_system_account", "no_system", "no_sys_acc"], Bool, Honoured),
        key(&["default_sentinel"], Text, Refused("whoever shows no token is nobody")),
        key(&["operator", "operators", "roots", "root", "root_operators", "root_operator"], Texts, Honoured),
        key(&["trusted", "trusted_keys"], Texts, Honoured),
        key(&["resolver", "account_resolver", "accounts_resolver"], OneOf(&[Text, Kind::Block(&RESOLVER)]), Honoured),
        key(&["resolver_tls"], Kind::Block(&TLS), Refused("tokens are fetched by http:// only")),
        key(&["resolver_preload"], TextMap, Honoured),
        key(&["resolver_pinned_accounts"], Texts, Honoured),
        key(&["proxies"], Kind::Block(&PROXIES), Refused("clients need not come by way of a proxy yet")),
        key(&["mappings", "maps"], MAPPINGS, Honoured),
        // Streams.
        key(&["store_dir", "storedir"], Text, Honoured),
        key(
            &["jetstream"],
            OneOf(&[Bool, Word(&["enabled", "enable", "disabled", "disable"]), Kind::Block(&JETSTREAM)]),
            Honoured,
        ),
        key(&["default_js_domain"], TextMap, Ignored("an account has the domain of jetstream, or none")),
        // Other servers and other protocols: their ports stay closed.
        key(&["cluster"], Kind::Block(&CLUSTER), Ignored(ALONE)),
        key(&["gateway"], Kind::Block(&GATEWAY), Ignored(ALONE)),
        key(&["leafnodes", "leaf"], Kind::Block(&LEAFNODES), Ignored(ALONE)),
        key(&["websocket", "ws"], Kind::Block(&WEBSOCKET), Honoured),
        key(&["mqtt"], Kind::Block(&MQTT), Ignored("there is no MQTT port yet")),
        key(&["feature_flags"], BoolMap, Ignored(NOT_YET)),
    ],
};

/// What only this server has.
pub static SUBLOG: Block = Block {
    name: "sublog",
    keys: &[
        key(&["store_dir", "data_dir"], Text, Honoured),
        key(&["capture"], Bool, Honoured),
        key(&["capture_account"], Text, Honoured),
        key(&["sync"], Text, Honoured),
        key(&["sync_interval"], Kind::Seconds, Honoured),
        key(&["compress"], Bool, Honoured),
        key(&["retention"], Kind::Block(&RETENTION), Honoured),
        key(&["scrub"], Kind::Block(&SCRUB), Honoured),
        // The names of the command line.
        key(&["max_age", "max-age"], LIMIT_SPAN, Honoured),
        key(&["max_bytes", "max-bytes"], LIMIT_SIZE, Honoured),
        key(&["disk_reserve", "disk-reserve"], Size, Honoured),
        key(&["scrub_interval", "scrub-interval"], LIMIT_SPAN, Honoured),
        key(&["scrub_rate", "scrub-rate"], Size, Honoured),
        key(&["log_format", "log-format"], Word(&["text", "json"]), Honoured),
    ],
};

/// Limits that can be off.
const LIMIT_SPAN: Kind = OneOf(&[Bool, Kind::Seconds]);
const LIMIT_SIZE: Kind = OneOf(&[Bool, Size]);

static RETENTION: Block = Block {
    name: "retention",
    keys: &[
        key(&["max_age"], LIMIT_SPAN, Honoured),
        key(&["max_bytes"], LIMIT_SIZE, Honoured),
        key(&["disk_reserve"], Size, Honoured),
    ],
};

static SCRUB: Block =
    Block { name: "scrub", keys: &[key(&["interval"], LIMIT_SPAN, Honoured), key(&["rate"], Size, Honoured)] };

static DESTINATION: Block = Block {
    name: "a mapping's destination",
    keys: &[
        key(&["destination", "dest"], Text, Honoured),
        key(&["weight"], OneOf(&[Int, Text]), Honoured),
        key(&["cluster"], Text, Ignored("this server is in no cluster: what is for one is left out")),
    ],
};

static OCSP: Block = Block {
    name: "ocsp",
    keys: &[key(&["mode"], Text, Honoured), key(&["urls"], Texts, Honoured), key(&["url"], Text, Honoured)],
};

static OCSP_CACHE: Block = Block {
    name: "ocsp_cache",
    keys: &[
        key(&["type"], Text, Honoured),
        key(&["local_store"], Text, Honoured),
        key(&["preserve_revoked"], Bool, Honoured),
        key(&["save_interval"], Kind::Seconds, Honoured),
    ],
};

static RESOLVER: Block = Block {
    name: "resolver",
    keys: &[
        key(&["type"], Text, Honoured),
        key(&["dir"], Text, Honoured),
        key(&["allow_delete"], Bool, Honoured),
        key(&["hard_delete"], Bool, Honoured),
        key(&["limit"], Int, Honoured),
        key(&["ttl"], Kind::Seconds, Refused("a folder with all tokens forgets none")),
        key(&["interval"], Kind::Seconds, Ignored(ALONE)),
        key(&["timeout"], Kind::Seconds, Ignored(ALONE)),
    ],
};

static PROXIES: Block = Block { name: "proxies", keys: &[key(&["trusted"], Kind::Blocks(&TRUSTED_PROXY), Honoured)] };

static TRUSTED_PROXY: Block = Block { name: "a trusted proxy", keys: &[key(&["key", "public_key"], Text, Honoured)] };

/// All names of a key of the file itself.
pub(super) fn names_of(name: &str) -> &'static [&'static str] {
    TOP.find(name).map_or(&[], |key| key.names)
}

/// Every block of the tables, each once.
#[must_use]
pub fn blocks() -> Vec<&'static Block> {
    let mut all: Vec<&'static Block> = vec![&TOP];
    let mut at = 0;
    while let Some(block) = all.get(at) {
        let inner: Vec<_> = block.keys.iter().flat_map(|key: &Key| key.kind.blocks()).collect();
        for found in inner {
            if !all.iter().any(|known| std::ptr::eq(*known, found)) {
                all.push(found);
            }
        }
        at += 1;
    }
    all
}

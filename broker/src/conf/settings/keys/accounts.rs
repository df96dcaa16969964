//! Keys of an account.

use super::{MAPPINGS, PERMISSIONS, USER};
use crate::conf::settings::schema::Kind::{
    Block as Inner, Blocks, Bool, Int, List, OneOf, Seconds, Size, Text, Texts, Word,
};
use crate::conf::settings::schema::Now::{Honoured, Ignored, Refused};
use crate::conf::settings::schema::{Block, key};

/// One account.
pub static ACCOUNT: Block = Block {
    name: "an account",
    keys: &[
        key(&["nkey"], Text, Ignored("no other server asks for an account by its key")),
        key(&["users"], Blocks(&USER), Honoured),
        key(&["imports"], List(&Inner(&IMPORT)), Honoured),
        key(&["exports"], List(&Inner(&EXPORT)), Honoured),
        key(
            &["jetstream"],
            OneOf(&[Bool, Word(&["enabled", "enable", "disabled", "disable"]), Inner(&ACCOUNT_JETSTREAM)]),
            Honoured,
        ),
        key(&["default_permissions"], Inner(&PERMISSIONS), Honoured),
        key(&["mappings", "maps"], MAPPINGS, Honoured),
        key(&["limits"], Inner(&LIMITS), Honoured),
        key(
            &["msg_trace", "trace_dest"],
            OneOf(&[Text, Inner(&MESSAGE_TRACE)]),
            Refused("messages are not traced yet"),
        ),
    ],
};

const NO_TOTAL: &str = "an account's streams together have no limit but the disk";

static LIMITS: Block = Block {
    name: "an account's limits",
    keys: &[
        key(&["max_connections", "max_conn"], Int, Honoured),
        key(&["max_subscriptions", "max_subs"], Int, Honoured),
        key(&["max_payload", "max_pay"], Size, Honoured),
        key(&["max_leafnodes", "max_leafs"], Int, Ignored("there are no leaf nodes yet")),
    ],
};

static ACCOUNT_JETSTREAM: Block = Block {
    name: "an account's jetstream",
    keys: &[
        key(&["enabled", "enable"], Bool, Honoured),
        key(&["max_memory", "max_mem", "mem", "memory"], Size, Ignored(NO_TOTAL)),
        key(&["max_store", "max_file", "max_disk", "store", "disk"], Size, Ignored(NO_TOTAL)),
        key(&["max_streams", "streams"], Int, Honoured),
        key(&["max_consumers", "consumers"], Int, Honoured),
        key(&["max_bytes_required", "max_stream_bytes", "max_bytes"], Bool, Honoured),
        key(&["memory_max_stream_bytes", "mem_max_stream_bytes"], Size, Honoured),
        key(&["disk_max_stream_bytes", "store_max_stream_bytes"], Size, Honoured),
        key(&["max_ack_pending"], Int, Honoured),
        key(&["cluster_traffic"], Text, Ignored("this server joins no others yet")),
    ],
};

static MESSAGE_TRACE: Block = Block {
    name: "msg_trace",
    keys: &[key(&["dest"], Text, Honoured), key(&["sampling"], OneOf(&[Int, Text]), Honoured)],
};

static EXPORT: Block = Block {
    name: "an export",
    keys: &[
        key(&["stream"], Text, Honoured),
        key(&["service"], Text, Honoured),
        key(&["accounts"], Texts, Honoured),
        key(&["response_type", "response"], Word(&["single", "singleton", "stream", "chunk", "chunked"]), Honoured),
        key(&["response_threshold", "threshold", "response_max_time", "response_time"], Seconds, Honoured),
        key(&["latency"], OneOf(&[Text, Inner(&LATENCY)]), Ignored("latencies of services are not measured yet")),
        key(&["account_token_position"], Int, Honoured),
        key(&["allow_trace"], Bool, Ignored("messages are not traced yet")),
    ],
};

static LATENCY: Block = Block {
    name: "latency",
    keys: &[key(&["subject"], Text, Honoured), key(&["sampling"], OneOf(&[Int, Text]), Honoured)],
};

static IMPORT: Block = Block {
    name: "an import",
    keys: &[
        key(&["stream"], Inner(&IMPORT_SOURCE), Honoured),
        key(&["service"], Inner(&IMPORT_SOURCE), Honoured),
        key(&["prefix"], Text, Honoured),
        key(&["to"], Text, Honoured),
        key(&["share"], Bool, Honoured),
        key(&["allow_trace"], Bool, Ignored("messages are not traced yet")),
    ],
};

static IMPORT_SOURCE: Block =
    Block { name: "an import's source", keys: &[key(&["account"], Text, Honoured), key(&["subject"], Text, Honoured)] };

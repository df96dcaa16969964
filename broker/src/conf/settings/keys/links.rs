//! Keys of what connects to other servers, or speaks other protocols. The tables are whole; that they have no effect
//! stands at the blocks themselves.

use super::{ALONE, AUTHORIZATION, PERMISSIONS, TLS};
use crate::conf::settings::schema::Kind::{
    Address, Block as Inner, Blocks, Bool, Int, List, OneOf, Port, Seconds, Size, Text, TextMap, Texts, Word,
};
use crate::conf::settings::schema::Now::{Honoured, Ignored, Refused};
use crate::conf::settings::schema::{Block, Key, Kind, key};

const ONE_DOOR: &str = "clients of this port are those of the other one";
const COMPRESSION: Kind = OneOf(&[Bool, Text, Inner(&COMPRESSION_BLOCK)]);
const LISTEN: Key = key(&["listen"], Address, Honoured);
const PORT: Key = key(&["port"], Port, Honoured);
const HOST: Key = key(&["host", "net"], Text, Honoured);
const TLS_KEY: Key = key(&["tls"], Inner(&TLS), Honoured);
const NO_ADVERTISE: Key = key(&["no_advertise"], Bool, Honoured);
const COMPRESSION_KEY: Key = key(&["compression"], COMPRESSION, Honoured);
const WRITE_DEADLINE: Key = key(&["write_deadline"], Seconds, Honoured);
const WRITE_TIMEOUT: Key = key(&["write_timeout"], Word(&["default", "close", "retry"]), Honoured);
const CONNECT_RETRIES: Key = key(&["connect_retries"], Int, Honoured);
const CONNECT_BACKOFF: Key = key(&["connect_backoff"], Bool, Honoured);
const ISOLATE: Key = key(&["isolate_leafnode_interest", "isolate"], Bool, Honoured);

static COMPRESSION_BLOCK: Block = Block {
    name: "compression",
    keys: &[
        key(&["mode"], Text, Honoured),
        key(&["rtt_thresholds", "thresholds", "rtts", "rtt"], List(&Seconds), Honoured),
    ],
};

/// Routes between servers of a cluster.
pub static CLUSTER: Block = Block {
    name: "cluster",
    keys: &[
        key(&["name"], Text, Honoured),
        LISTEN,
        PORT,
        HOST,
        key(&["authorization"], Inner(&AUTHORIZATION), Honoured),
        key(&["routes"], List(&Text), Honoured),
        TLS_KEY,
        key(&["advertise", "cluster_advertise"], Text, Honoured),
        NO_ADVERTISE,
        CONNECT_RETRIES,
        CONNECT_BACKOFF,
        key(&["permissions"], Inner(&PERMISSIONS), Honoured),
        key(&["pool_size"], Int, Honoured),
        key(&["accounts"], Texts, Honoured),
        COMPRESSION_KEY,
        key(&["ping_interval"], Seconds, Honoured),
        key(&["ping_max"], Int, Honoured),
        WRITE_DEADLINE,
        WRITE_TIMEOUT,
    ],
};

/// Connections between clusters.
pub static GATEWAY: Block = Block {
    name: "gateway",
    keys: &[
        key(&["name"], Text, Honoured),
        LISTEN,
        PORT,
        HOST,
        key(&["authorization"], Inner(&AUTHORIZATION), Honoured),
        TLS_KEY,
        key(&["advertise"], Text, Honoured),
        CONNECT_RETRIES,
        CONNECT_BACKOFF,
        key(&["gateways"], Blocks(&REMOTE_GATEWAY), Honoured),
        key(&["reject_unknown", "reject_unknown_cluster"], Bool, Honoured),
        WRITE_DEADLINE,
        WRITE_TIMEOUT,
    ],
};

static REMOTE_GATEWAY: Block = Block {
    name: "a remote gateway",
    keys: &[
        key(&["name"], Text, Honoured),
        TLS_KEY,
        key(&["url"], Text, Honoured),
        key(&["urls"], List(&Text), Honoured),
    ],
};

/// Leafnodes: servers that attach to others.
pub static LEAFNODES: Block = Block {
    name: "leafnodes",
    keys: &[
        LISTEN,
        PORT,
        HOST,
        key(&["authorization"], Inner(&LEAF_AUTHORIZATION), Honoured),
        key(&["remotes"], Blocks(&LEAF_REMOTE), Honoured),
        key(&["reconnect", "reconnect_delay", "reconnect_interval"], Seconds, Honoured),
        key(&["dial_timeout"], Seconds, Honoured),
        TLS_KEY,
        key(&["advertise", "leafnode_advertise"], Text, Honoured),
        NO_ADVERTISE,
        key(&["min_version", "minimum_version"], Text, Honoured),
        COMPRESSION_KEY,
        ISOLATE,
        WRITE_DEADLINE,
        WRITE_TIMEOUT,
    ],
};

static LEAF_AUTHORIZATION: Block = Block {
    name: "leafnodes' authorization",
    keys: &[
        key(&["user", "username"], Text, Honoured),
        key(&["password", "pass"], Text, Honoured),
        key(&["nkey"], Text, Honoured),
        key(&["timeout"], Seconds, Honoured),
        key(&["users"], Blocks(&LEAF_USER), Honoured),
        key(&["account"], Text, Honoured),
        key(&["proxy_required"], Bool, Honoured),
    ],
};

static LEAF_USER: Block = Block {
    name: "a leafnode's user",
    keys: &[
        key(&["user", "username"], Text, Honoured),
        key(&["password", "pass"], Text, Honoured),
        key(&["account"], Text, Honoured),
        key(&["proxy_required"], Bool, Honoured),
    ],
};

static LEAF_REMOTE: Block = Block {
    name: "a leafnode's remote",
    keys: &[
        key(&["urls", "url"], Texts, Honoured),
        key(&["account", "local"], Text, Honoured),
        key(&["credentials", "creds"], Text, Honoured),
        key(&["nkey", "seed"], Text, Honoured),
        TLS_KEY,
        key(&["hub"], Bool, Honoured),
        key(&["deny_imports", "deny_import"], Texts, Honoured),
        key(&["deny_exports", "deny_export"], Texts, Honoured),
        key(&["no_randomize", "dont_randomize"], Bool, Honoured),
        key(&["ws_compression", "ws_compress", "websocket_compress", "websocket_compression"], Bool, Honoured),
        key(&["ws_no_masking", "websocket_no_masking"], Bool, Honoured),
        key(&["jetstream_cluster_migrate", "js_cluster_migrate"], OneOf(&[Bool, Inner(&MIGRATE)]), Honoured),
        ISOLATE,
        key(&["request_isolation"], Bool, Honoured),
        COMPRESSION_KEY,
        key(&["first_info_timeout"], Seconds, Honoured),
        key(&["dial_timeout"], Seconds, Honoured),
        key(&["disabled"], Bool, Honoured),
        key(&["proxy"], Inner(&PROXY), Honoured),
        key(&["ignore_discovered_servers"], Bool, Honoured),
    ],
};

static MIGRATE: Block =
    Block { name: "jetstream_cluster_migrate", keys: &[key(&["leader_migrate_delay"], Seconds, Honoured)] };

static PROXY: Block = Block {
    name: "a remote's proxy",
    keys: &[
        key(&["url"], Text, Honoured),
        key(&["username"], Text, Honoured),
        key(&["password"], Text, Honoured),
        key(&["timeout"], Seconds, Honoured),
    ],
};

/// Clients that come by way of a browser.
pub static WEBSOCKET: Block = Block {
    name: "websocket",
    keys: &[
        LISTEN,
        PORT,
        HOST,
        key(&["advertise"], Text, Ignored(ALONE)),
        key(&["no_tls"], Bool, Honoured),
        TLS_KEY,
        key(&["same_origin"], Bool, Honoured),
        key(
            &["allowed_origins", "allowed_origin", "allow_origins", "allow_origin", "origins", "origin"],
            Texts,
            Honoured,
        ),
        key(&["handshake_timeout"], Seconds, Honoured),
        key(&["compression", "compress"], Bool, Honoured),
        key(&["authorization", "authentication"], Inner(&AUTHORIZATION), Refused(ONE_DOOR)),
        key(&["jwt_cookie"], Text, Honoured),
        key(&["user_cookie"], Text, Honoured),
        key(&["pass_cookie"], Text, Honoured),
        key(&["token_cookie"], Text, Honoured),
        key(&["no_auth_user"], Text, Refused(ONE_DOOR)),
        key(&["headers"], TextMap, Honoured),
        key(&["ping_interval"], Seconds, Honoured),
    ],
};

/// Devices.
pub static MQTT: Block = Block {
    name: "mqtt",
    keys: &[
        LISTEN,
        PORT,
        HOST,
        TLS_KEY,
        key(&["authorization", "authentication"], Inner(&AUTHORIZATION), Honoured),
        key(&["no_auth_user"], Text, Honoured),
        key(&["ack_wait", "ackwait"], Seconds, Honoured),
        key(&["js_api_timeout", "api_timeout"], Seconds, Honoured),
        key(&["max_ack_pending", "max_pending", "max_inflight"], Size, Honoured),
        key(&["js_domain"], Text, Honoured),
        key(&["stream_replicas"], Int, Honoured),
        key(&["consumer_replicas"], Int, Honoured),
        key(&["consumer_memory_storage"], Bool, Honoured),
        key(&["consumer_inactive_threshold", "consumer_auto_cleanup"], Seconds, Honoured),
        key(&["reject_qos2_publish"], Bool, Honoured),
        key(&["downgrade_qos2_subscribe"], Bool, Honoured),
    ],
};

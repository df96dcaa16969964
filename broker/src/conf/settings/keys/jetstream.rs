//! Keys of `jetstream`.

use crate::conf::settings::schema::Kind::{Block as Inner, Bool, Duration, Int, OneOf, Seconds, Size, Text, Word};
use crate::conf::settings::schema::Now::{Honoured, Ignored, Refused};
use crate::conf::settings::schema::{Block, key};

const NO_LIMITS: &str = "streams are bound by their own limits alone; JetStream as a whole has none yet";
const NO_CIPHER: &str = "what is recorded would not be encrypted";

/// Streams.
pub static JETSTREAM: Block = Block {
    name: "jetstream",
    keys: &[
        key(&["enabled", "enable"], Bool, Honoured),
        key(&["store_dir", "store", "storedir"], Text, Honoured),
        key(
            &["sync_interval", "sync"],
            OneOf(&[Word(&["always"]), Duration]),
            Ignored("when the disk is synced, sublog { sync } says"),
        ),
        key(&["max_memory_store", "max_mem_store", "max_mem"], Size, Ignored(NO_LIMITS)),
        key(&["max_file_store", "max_file"], Size, Ignored("how much is kept, sublog { retention } says")),
        key(&["domain"], Text, Honoured),
        key(&["strict"], Bool, Ignored(NO_LIMITS)),
        key(&["key", "ek", "encryption_key"], Text, Refused(NO_CIPHER)),
        key(&["prev_key", "prev_ek", "prev_encryption_key"], Text, Refused(NO_CIPHER)),
        key(&["cipher"], Text, Refused(NO_CIPHER)),
        key(&["tpm"], Inner(&TPM), Refused(NO_CIPHER)),
        key(&["extension_hint"], Text, Ignored(NO_LIMITS)),
        key(&["unique_tag"], Text, Ignored(NO_LIMITS)),
        key(&["limits"], Inner(&LIMITS), Ignored(NO_LIMITS)),
        key(&["max_outstanding_catchup"], Size, Ignored(NO_LIMITS)),
        key(&["max_buffered_size"], Size, Ignored(NO_LIMITS)),
        key(&["max_buffered_msgs"], Int, Ignored(NO_LIMITS)),
        key(&["request_queue_limit"], Int, Ignored(NO_LIMITS)),
        key(&["info_queue_limit"], Int, Ignored(NO_LIMITS)),
        key(&["meta_compact"], Int, Ignored(NO_LIMITS)),
        key(&["meta_compact_size"], Size, Ignored(NO_LIMITS)),
        key(&["meta_compact_sync"], Bool, Ignored(NO_LIMITS)),
        key(&["max_concurrent_io"], Int, Ignored(NO_LIMITS)),
    ],
};

static LIMITS: Block = Block {
    name: "jetstream's limits",
    keys: &[
        key(&["max_ack_pending"], Int, Honoured),
        key(&["max_ha_assets"], Int, Honoured),
        key(&["max_request_batch"], Int, Honoured),
        key(&["duplicate_window"], Seconds, Honoured),
        key(&["batch"], Inner(&BATCH), Honoured),
    ],
};

static BATCH: Block = Block {
    name: "batch",
    keys: &[
        key(&["max_inflight_per_stream"], Int, Honoured),
        key(&["max_inflight_total"], Int, Honoured),
        key(&["max_msgs"], Int, Honoured),
        key(&["timeout"], Seconds, Honoured),
    ],
};

static TPM: Block = Block {
    name: "tpm",
    keys: &[
        key(&["keys_file"], Text, Honoured),
        key(&["encryption_password"], Text, Honoured),
        key(&["srk_password"], Text, Honoured),
        key(&["pcr"], Int, Honoured),
        key(&["cipher"], Text, Honoured),
    ],
};

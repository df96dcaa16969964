//! Keys of `authorization`, users, permissions, and `tls`.

use super::NO_OCSP;
use crate::conf::settings::schema::Kind::{
    Block as Inner, Blocks, Bool, Int, List, Number, OneOf, Seconds, Text, Texts,
};
use crate::conf::settings::schema::Now::{Honoured, Ignored, Refused};
use crate::conf::settings::schema::{Block, Kind, key};

const NO_CALLOUT: &str = "no other service is asked about users yet";
const NO_PROXY: &str = "clients need not come by way of a proxy yet";

/// Who may connect.
pub static AUTHORIZATION: Block = Block {
    name: "authorization",
    keys: &[
        key(&["user", "username"], Text, Honoured),
        key(&["password", "pass"], Text, Honoured),
        key(&["token"], Text, Honoured),
        key(&["timeout"], Seconds, Honoured),
        key(&["users"], Blocks(&USER), Honoured),
        key(&["default_permissions", "default_permission", "permissions"], Inner(&PERMISSIONS), Honoured),
        key(&["auth_callout", "auth_hook"], Inner(&CALLOUT), Refused(NO_CALLOUT)),
        key(&["proxy_required"], Bool, Refused(NO_PROXY)),
    ],
};

/// One user.
pub static USER: Block = Block {
    name: "a user",
    keys: &[
        key(&["user", "username"], Text, Honoured),
        key(&["password", "pass"], Text, Honoured),
        key(&["nkey"], Text, Honoured),
        key(&["permissions", "permission", "authorization"], Inner(&PERMISSIONS), Honoured),
        key(&["allowed_connection_types", "connection_types", "clients"], Texts, Honoured),
        key(&["proxy_required"], Bool, Refused(NO_PROXY)),
    ],
};

/// What a user may do.
pub static PERMISSIONS: Block = Block {
    name: "permissions",
    keys: &[
        key(&["publish", "pub", "import"], SUBJECTS, Honoured),
        key(&["subscribe", "sub", "export"], SUBJECTS, Honoured),
        key(&["allow_responses", "publish_allow_responses"], OneOf(&[Bool, Inner(&RESPONSES)]), Honoured),
    ],
};

const SUBJECTS: Kind = OneOf(&[Texts, Inner(&SUBJECT_RULES)]);

static SUBJECT_RULES: Block =
    Block { name: "publish or subscribe", keys: &[key(&["allow"], Texts, Honoured), key(&["deny"], Texts, Honoured)] };

static RESPONSES: Block = Block {
    name: "allow_responses",
    keys: &[
        key(&["max", "max_msgs", "max_messages", "max_responses"], Int, Honoured),
        key(&["expires", "expiration", "ttl"], Seconds, Honoured),
    ],
};

static CALLOUT: Block = Block {
    name: "auth_callout",
    keys: &[
        key(&["issuer"], Text, Honoured),
        key(&["account", "acc"], Text, Honoured),
        key(&["auth_users", "users"], Texts, Honoured),
        key(&["xkey", "key"], Text, Honoured),
        key(&["allowed_accounts"], Texts, Honoured),
    ],
};

/// Encryption.
pub static TLS: Block = Block {
    name: "tls",
    keys: &[
        key(&["cert_file"], Text, Honoured),
        key(&["key_file"], Text, Honoured),
        key(&["ca_file"], Text, Honoured),
        key(&["insecure"], Bool, Honoured),
        key(&["verify"], Bool, Honoured),
        key(&["verify_and_map"], Bool, Honoured),
        key(&["verify_cert_and_check_known_urls"], Bool, Honoured),
        key(&["timeout"], Seconds, Honoured),
        key(&["cipher_suites"], List(&Text), Honoured),
        key(&["allow_insecure_cipher_suites"], Bool, Ignored("suites that are not safe are left out")),
        key(&["curve_preferences"], List(&Text), Honoured),
        key(&["min_version"], OneOf(&[Text, Number]), Honoured),
        key(&["handshake_first", "first", "immediate"], OneOf(&[Bool, Text]), Honoured),
        key(&["connection_rate_limit"], Int, Honoured),
        key(&["pinned_certs"], Texts, Honoured),
        key(&["certs", "certificates"], Blocks(&PAIR), Honoured),
        key(&["ocsp_peer"], OneOf(&[Bool, Inner(&OCSP_PEER)]), Refused(NO_OCSP)),
        key(&["cert_store"], Text, Refused("certificates come from files")),
        key(&["cert_match_by"], Text, Refused("certificates come from files")),
        key(&["cert_match"], Text, Refused("certificates come from files")),
        key(&["cert_match_skip_invalid"], Bool, Refused("certificates come from files")),
        key(&["ca_certs_match"], Texts, Refused("certificates come from files")),
    ],
};

static PAIR: Block =
    Block { name: "a certificate", keys: &[key(&["cert_file"], Text, Honoured), key(&["key_file"], Text, Honoured)] };

static OCSP_PEER: Block = Block {
    name: "ocsp_peer",
    keys: &[
        key(&["verify"], Bool, Honoured),
        key(&["allowed_clockskew"], Seconds, Honoured),
        key(&["ca_timeout"], Seconds, Honoured),
        key(&["cache_ttl_when_next_update_unset"], Seconds, Honoured),
        key(&["warn_only"], Bool, Honoured),
        key(&["unknown_is_good"], Bool, Honoured),
        key(&["allow_when_ca_unreachable"], Bool, Honoured),
    ],
};

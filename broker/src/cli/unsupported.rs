//! Flags of nats-server that are refused because nothing here would act on them.

use super::flags::Unsupported;

/// Every flag of nats-server that [`super::serve`] does not honour. An entry moves out of here when the
/// feature arrives.
pub(crate) const UNSUPPORTED: &[Unsupported] = &[
    Unsupported { names: &["client_advertise"], reason: "no cluster to advertise to" },
    Unsupported { names: &["max_traced_msg_len"], reason: "payloads are not traced" },
    Unsupported {
        names: &[
            "routes",
            "cluster",
            "cluster_listen",
            "cluster_name",
            "cluster_advertise",
            "no_advertise",
            "connect_retries",
        ],
        reason: "no clusters",
    },
    Unsupported { names: &["profile"], reason: "no profiling port" },
];

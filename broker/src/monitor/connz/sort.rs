//! The orders of `/connz`: by id upwards, by what is counted downwards.

use std::cmp::Reverse;
use std::time::SystemTime;

use super::Row;
use crate::client::shown::Shown;
use crate::monitor::http::Refused;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Cid,
    Subs,
    Pending,
    MsgsTo,
    MsgsFrom,
    BytesTo,
    BytesFrom,
    Last,
    Idle,
    Uptime,
    Stop,
    Reason,
    Rtt,
}

impl Sort {
    /// The order of that name.
    pub(super) fn read(name: &str) -> Result<Self, Refused> {
        Ok(match name {
            "" | "cid" | "start" => Self::Cid,
            "subs" => Self::Subs,
            "pending" => Self::Pending,
            "msgs_to" => Self::MsgsTo,
            "msgs_from" => Self::MsgsFrom,
            "bytes_to" => Self::BytesTo,
            "bytes_from" => Self::BytesFrom,
            "last" => Self::Last,
            "idle" => Self::Idle,
            "uptime" => Self::Uptime,
            "stop" => Self::Stop,
            "reason" => Self::Reason,
            "rtt" => Self::Rtt,
            other => return Err(Refused(format!("invalid sorting option: {other}"))),
        })
    }

    /// Its name, if only closed connections have what it goes by.
    pub(super) fn of_closed(self) -> Option<&'static str> {
        match self {
            Self::Stop => Some("stop"),
            Self::Reason => Some("reason"),
            _ => None,
        }
    }

    /// Puts connections into this order, equal ones by id.
    pub(super) fn apply(self, rows: &mut [Row], now: SystemTime) {
        rows.sort_by_cached_key(|row| row.shown.cid);
        let mut downwards = |key: &dyn Fn(&Shown) -> u128| rows.sort_by_cached_key(|row| Reverse(key(&row.shown)));
        match self {
            Self::Cid => {}
            Self::Subs => downwards(&|shown| shown.subscriptions.into()),
            Self::Pending => downwards(&|shown| shown.pending_bytes.into()),
            Self::MsgsTo => downwards(&|shown| shown.out_msgs.into()),
            Self::MsgsFrom => downwards(&|shown| shown.in_msgs.into()),
            Self::BytesTo => downwards(&|shown| shown.out_bytes.into()),
            Self::BytesFrom => downwards(&|shown| shown.in_bytes.into()),
            Self::Rtt => downwards(&|shown| shown.rtt.unwrap_or_default().as_nanos()),
            Self::Last => rows.sort_by_key(|row| Reverse(row.shown.last_activity)),
            Self::Idle => rows.sort_by_key(|row| row.shown.last_activity),
            Self::Stop => rows.sort_by_key(|row| Reverse(row.shown.stop.map(|(stop, _)| stop))),
            // The youngest first, unlike all others: so nats-server has it.
            Self::Uptime => rows.sort_by_key(|row| row.shown.uptime(now)),
            Self::Reason => rows.sort_by_key(|row| row.shown.stop.map_or("", |(_, reason)| reason.as_str())),
        }
    }
}

//! The pages as answers to requests of the system account: the same structs in an envelope.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::http::Refused;
use super::varz::{self, Traffic};
use super::{accountz, accstatz, connz, cpu, gatewayz, healthz, ipqueuesz, jsz, leafz, routez, subsz, text};
use crate::server::Server;
use crate::server::sys::About;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as the pages")]
pub enum Page {
    Idz,
    Statsz,
    Varz,
    Subsz,
    Connz,
    Routez,
    Gatewayz,
    Leafz,
    Accountz,
    Jsz,
    Healthz,
    Ipqueuesz,
    AccountStatz,
    AccountInfo,
    AccountJsz,
    AccountConns,
}

impl Page {
    /// By what stands behind the name of a server.
    #[must_use]
    pub fn of_server(what: &str) -> Option<Self> {
        Some(match what {
            "IDZ" => Self::Idz,
            "STATSZ" => Self::Statsz,
            "VARZ" => Self::Varz,
            "SUBSZ" => Self::Subsz,
            "CONNZ" => Self::Connz,
            "ROUTEZ" => Self::Routez,
            "GATEWAYZ" => Self::Gatewayz,
            "LEAFZ" => Self::Leafz,
            "ACCOUNTZ" => Self::Accountz,
            "JSZ" => Self::Jsz,
            "HEALTHZ" => Self::Healthz,
            "IPQUEUESZ" => Self::Ipqueuesz,
            _ => return None,
        })
    }

    /// By what stands behind the name of an account.
    #[must_use]
    pub fn of_account(what: &str) -> Option<Self> {
        Some(match what {
            "SUBSZ" => Self::Subsz,
            "CONNZ" => Self::Connz,
            "LEAFZ" => Self::Leafz,
            "JSZ" => Self::AccountJsz,
            "INFO" => Self::AccountInfo,
            "STATZ" => Self::AccountStatz,
            "CONNS" => Self::AccountConns,
            _ => return None,
        })
    }
}

fn options<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, (u16, String)> {
    if body.is_empty() { Ok(T::default()) } else { serde_json::from_slice(body).map_err(|e| (400, e.to_string())) }
}

fn page<T: Serialize>(page: &T) -> Result<Value, (u16, String)> {
    serde_json::to_value(page).map_err(|error| (500, error.to_string()))
}

fn refused(Refused(text): Refused) -> (u16, String) {
    (500, text)
}

/// The answer; `None`: there is nothing to say. `account`: about this one alone. May wait for a disk.
#[must_use]
pub fn answer(server: &Arc<Server>, what: Page, account: &str, body: &[u8]) -> Option<Vec<u8>> {
    let about = About::of(server);
    let json = match what {
        Page::Idz => json!({ "name": server.name(), "host": server.options.host, "id": server.id }),
        Page::Statsz => json!({ "server": about, "statsz": statistics(server) }),
        Page::AccountConns => {
            let found = server.accounts.get(account).filter(|found| found.connections() > 0)?;
            let stats = page(&accstatz::Account::of(server, &found)).ok()?;
            let mut json = json!({ "server": about });
            let fields = json.as_object_mut()?;
            fields.extend(stats.as_object()?.clone());
            json
        }
        _ => match data(server, what, account, body) {
            Ok(None) => return None,
            Ok(Some(data)) => json!({ "server": about, "data": data }),
            Err((code, description)) => {
                json!({ "server": about, "data": null, "error": { "code": code, "description": description } })
            }
        },
    };
    serde_json::to_vec(&json).ok()
}

fn data(server: &Arc<Server>, what: Page, account: &str, body: &[u8]) -> Result<Option<Value>, (u16, String)> {
    let about_one = !account.is_empty();
    let data = match what {
        Page::Varz => page(&varz::page(server)),
        Page::Subsz => {
            let mut asked: subsz::Options = options(body)?;
            if about_one {
                asked.of_account(account);
            }
            page(&subsz::page(server, &asked).map_err(refused)?)
        }
        Page::Connz => {
            let mut asked: connz::Options = options(body)?;
            if about_one {
                asked.of_account(account);
            }
            page(&connz::page(server, &asked).map_err(refused)?)
        }
        Page::Routez => page(&routez::page(server)),
        Page::Gatewayz => page(&gatewayz::page(server)),
        Page::Leafz => page(&leafz::page(server)),
        Page::Accountz => page(&accountz::page(server, &options(body)?).map_err(refused)?),
        Page::Jsz => page(&jsz::page(server, &options(body)?)),
        Page::AccountJsz => {
            let mut asked: jsz::Options = options(body)?;
            asked.of_account(account);
            page(&jsz::of_account(server, &asked).map_err(refused)?)
        }
        Page::Healthz => page(&healthz::page(server, &options(body)?)),
        Page::Ipqueuesz => page(&ipqueuesz::page(server, &options(body)?)),
        Page::AccountInfo => {
            let asked = accountz::Options::of(account);
            page(&accountz::page(server, &asked).map_err(refused)?.into_detail())
        }
        Page::AccountStatz => {
            let mut asked: accstatz::Options = options(body)?;
            if about_one {
                asked.of_account(account);
            }
            let found = accstatz::page(server, &asked);
            if about_one && found.is_empty() && !asked.wants_unused() {
                return Ok(None);
            }
            page(&found)
        }
        Page::Idz | Page::Statsz | Page::AccountConns => Ok(Value::Null),
    };
    data.map(Some)
}

/// How the server does, in short.
fn statistics(server: &Arc<Server>) -> Value {
    let (stats, traffic) = (&server.stats, Traffic::of(server));
    let count = |msgs: u64, bytes: u64| json!({ "msgs": msgs, "bytes": bytes });
    let accounts = server.accounts.all();
    let subscriptions: usize = accounts.iter().map(|account| account.router.len()).sum();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    json!({
        "start": text::time(server.start),
        "mem": cpu::resident_bytes(),
        "cores": cores,
        "cpu": server.monitor.cpu.percent(),
        "connections": server.connections(),
        "total_connections": stats.total_connections.load(Ordering::Relaxed),
        "active_accounts": accounts.iter().filter(|account| account.connections() > 0).count(),
        "subscriptions": subscriptions,
        "sent": count(traffic.out_msgs, traffic.out_bytes),
        "sent_to_clients": count(traffic.out_msgs, traffic.out_bytes),
        "received": count(traffic.in_msgs, traffic.in_bytes),
        "received_from_clients": count(traffic.in_msgs, traffic.in_bytes),
        "slow_consumers": stats.slow_consumers.load(Ordering::Relaxed),
        "stale_connections": stats.stale_connections.load(Ordering::Relaxed),
        "stalled_clients": stats.stalls.load(Ordering::Relaxed),
        "active_servers": 1,
        "jetstream": varz::JetStream::of(server),
        "gomaxprocs": cores,
    })
}

//! Which pages there are, and how a request gets to one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::http::{Answer, Asked, Refused};
use super::{accountz, accstatz, connz, gatewayz, healthz, index, ipqueuesz, jsz, leafz, routez, streamz, subsz, varz};
use crate::limits::LARGE_PAGES_AT_ONCE;
use crate::server::Server;

type Build = fn(&Arc<Server>, &Asked) -> Result<Answer, Refused>;

/// One page.
pub(super) struct Page {
    /// Below the base path.
    pub(super) path: &'static str,
    /// What the index calls it; nothing: it is not named there.
    pub(super) title: &'static str,
    /// What its requests are counted as; nothing: they are not.
    counted: &'static str,
    /// It grows with what there is, so that only a few of its kind are built at once.
    large: bool,
    build: Build,
}

const fn page(path: &'static str, title: &'static str, large: bool, build: Build) -> Page {
    Page { path, title, counted: path, large, build }
}

const fn uncounted(path: &'static str, title: &'static str, build: Build) -> Page {
    Page { path, title, counted: "", large: false, build }
}

/// All of them, in the order of the index, which is itself the page above them.
pub(super) const PAGES: &[Page] = &[
    page("/varz", "General", false, varz::answer),
    page("/jsz", "JetStream", true, jsz::answer),
    page("/connz", "Connections", true, connz::answer),
    page("/accountz", "Accounts", false, accountz::answer),
    page("/accstatz", "Account Stats", false, accstatz::answer),
    page("/subsz", "Subscriptions", true, subsz::answer),
    Page { counted: "/subsz", ..page("/subscriptionsz", "", true, subsz::answer) },
    page("/routez", "Routes", false, routez::answer),
    page("/leafz", "LeafNodes", false, leafz::answer),
    page("/gatewayz", "Gateways", false, gatewayz::answer),
    uncounted("/raftz", "", |_, _| Ok(Answer::words(StatusCode::NOT_FOUND, "No Raft nodes registered"))),
    uncounted("/ipqueuesz", "Queues", ipqueuesz::answer),
    page("/healthz", "Health Probe", false, healthz::answer),
    uncounted("/streamz", "Logs", streamz::answer),
];

const ROOT: &str = "/";

/// How often each page was asked for.
#[derive(Debug, Default)]
pub(super) struct Requests {
    root: AtomicU64,
    pages: [AtomicU64; PAGES.len()],
}

impl Requests {
    fn count(&self, counted: &str) {
        let counter = match PAGES.iter().position(|page| page.path == counted) {
            Some(at) => self.pages.get(at),
            None => (counted == ROOT).then_some(&self.root),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counts of what was asked for at all.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let pages = PAGES.iter().zip(&self.pages).map(|(page, count)| (page.path, count));
        let all = pages.chain([(ROOT, &self.root)]).map(|(path, count)| (path, count.load(Ordering::Relaxed)));
        all.filter(|(_, count)| *count > 0).collect()
    }
}

/// What all requests need.
struct Site {
    server: Arc<Server>,
    /// Nothing, or `/` and a path without one at its end.
    base: String,
    large: Arc<Semaphore>,
}

/// A path as it is compared: one slash before each part, and none behind.
fn base_path(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.iter().map(|part| format!("/{part}")).collect()
}

/// Answers for all pages below the base path.
pub(super) fn router(server: &Arc<Server>) -> Router {
    let base = base_path(&server.options.monitor_base_path);
    let site = Site { server: server.clone(), base, large: Arc::new(Semaphore::new(LARGE_PAGES_AT_ONCE)) };
    Router::new().fallback(serve).with_state(Arc::new(site))
}

async fn serve(State(site): State<Arc<Site>>, uri: Uri, Query(asked): Query<Vec<(String, String)>>) -> Response {
    let server = site.server.clone();
    let below = uri.path().strip_prefix(site.base.as_str());
    if below == Some(if site.base.is_empty() { ROOT } else { "" }) {
        server.monitor.requests.count(ROOT);
        return index::html(&server, &site.base).into_response();
    }
    let Some(page) = below.and_then(|path| PAGES.iter().find(|page| page.path == path)) else {
        return Answer::words(StatusCode::NOT_FOUND, "404 page not found\n").into_response();
    };
    server.monitor.requests.count(page.counted);
    // The semaphore is never closed.
    let permit = if page.large { site.large.clone().acquire_owned().await.ok() } else { None };
    let asked = Asked(asked);
    // Building it may wait for a disk.
    let built = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        (page.build)(&server, &asked)
    });
    match built.await {
        Ok(answer) => answer.into_response(),
        Err(error) => Answer::words(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_paths_are_taken_however_they_are_written() {
        for (text, path) in [
            ("", ""),
            ("/", ""),
            ("nats", "/nats"),
            ("/nats/", "/nats"),
            ("nats//x/./", "/nats/x"),
            ("../a/../b", "/b"),
        ] {
            assert_eq!(base_path(text), path, "{text}");
        }
    }

    #[test]
    fn requests_are_counted_by_page() {
        let requests = Requests::default();
        for page in PAGES {
            requests.count(page.counted);
        }
        requests.count(ROOT);
        let counts = requests.counts();
        assert_eq!((counts.get("/subsz"), counts.get("/varz"), counts.get("/")), (Some(&2), Some(&1), Some(&1)));
        assert_eq!(counts.len(), PAGES.iter().filter(|page| !page.counted.is_empty()).count());
    }
}

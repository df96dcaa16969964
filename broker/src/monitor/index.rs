//! `/`: where the pages are, for people; and 200 while the process serves, for probes.

use std::fmt::Write as _;

use axum::response::Html;

use super::pages::PAGES;
use crate::server::{Server, VERSION};

/// The index of the pages below `base`.
pub(super) fn html(server: &Server, base: &str) -> Html<String> {
    // Relative, so that the links hold behind a proxy that has a path of its own.
    let dir = base.rsplit('/').next().filter(|dir| !dir.is_empty()).map(|dir| format!("{dir}/")).unwrap_or_default();
    let mut links = String::new();
    for page in PAGES.iter().filter(|page| !page.title.is_empty()) {
        let name = page.path.trim_start_matches('/');
        let _ = write!(links, "<li><a href=\"{dir}{name}\">{}</a> {name}</li>", page.title);
    }
    Html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>sublog</title></head><body>\
         <h1>sublog {VERSION}</h1><p>{} connections</p><ul>{links}</ul></body></html>",
        server.connections()
    ))
}

//! What is written for each key of an account, and what has to stand beside it.

/// An account from which others may take something.
const B: &str = "B { exports: [ { stream: x }, { stream: xx }, { service: y } ] }, C { exports: [ { stream: x } ] }";
const STREAM: &str = "stream { account: B, subject: x }";
const SERVICE: &str = "service { account: B, subject: y }";

/// What stands around the keys of a block.
pub(crate) fn around(path: &str) -> (String, &'static str, &'static str) {
    let open = |inside: &str| format!("accounts {{ {B}, A {{ {inside}");
    match path {
        "accounts.limits" => (open("limits { "), "", " } } }"),
        "accounts.jetstream" => (open("jetstream { "), "", " } } }"),
        "accounts.exports" => (open("exports: [ { "), "service: \"s.*\"", " } ] } }"),
        "accounts.imports" => (open("imports: [ { "), STREAM, " } ] } }"),
        "accounts.imports.stream" => (open("imports: [ { stream { "), "", " } } ] } }"),
        _ => (open(""), "", " } }"),
    }
}

/// Keys that need a certain value, others beside them, or others in their place: what stands in the block with the key, and without.
pub(crate) fn special(path: &str, name: &str) -> Option<(String, String)> {
    let with = |value: &str| Some((format!("{name}: {value}"), String::new()));
    let instead = |with: String, without: &str| Some((with, without.to_owned()));
    let service = "service: \"s.*\"";
    match path {
        "accounts" => with("{ A: { users: [ { user: u, password: p } ] } }"),
        "system_account" => {
            let there = "accounts { A: { users: [ { user: u, password: p } ] } }";
            instead(format!("{name}: A, {there}"), there)
        }
        // The block around it ends where that of the accounts begins.
        "sublog.capture_account" => {
            let there = "}, accounts { A: { jetstream: true }";
            instead(format!("{name}: A {there}"), &format!("capture: true {there}"))
        }
        "mappings" => with("{ a: b }"),
        // All or none: what is left to chance is seen at times.
        "mappings.destination" => instead(format!("{name}: c, weight: 100%"), "destination: b, weight: 100%"),
        "mappings.weight" => instead(format!("{name}: 0%, destination: b"), "weight: 100%, destination: b"),
        "accounts.users" => with("[ { user: u, password: p } ]"),
        "accounts.imports" => with(&format!("[ {{ {STREAM} }} ]")),
        "accounts.exports" => with("[ { stream: e } ]"),
        "accounts.default_permissions" => {
            let users = "users: [ { user: u, password: p } ]";
            instead(format!("{name}: {{ publish: a }}, {users}"), users)
        }
        "accounts.mappings" => with("{ a: b }"),
        "accounts.limits" => with("{ max_connections: 7 }"),
        "accounts.jetstream" => with("true"),
        "accounts.jetstream.enabled" => instead(format!("{name}: false, max_streams: 7"), "max_streams: 7"),
        "accounts.exports.stream" => instead(format!("{name}: e"), "stream: f"),
        "accounts.exports.service" => instead(format!("{name}: e"), "service: f"),
        "accounts.exports.accounts" => instead(format!("{name}: [B], {service}"), service),
        "accounts.exports.account_token_position" => instead(format!("{name}: 2, {service}"), service),
        "accounts.imports.stream" => instead(format!("{name} {{ account: B, subject: x }}"), SERVICE),
        "accounts.imports.service" => instead(format!("{name} {{ account: B, subject: y }}"), STREAM),
        "accounts.imports.share" => instead(format!("{name}: true, {SERVICE}"), SERVICE),
        "accounts.imports.stream.account" => instead(format!("{name}: B, subject: x"), "account: C, subject: x"),
        "accounts.imports.stream.subject" => instead(format!("{name}: xx, account: B"), "subject: x, account: B"),
        _ => None,
    }
}

//! What is written for each key of operators, and what has to stand beside it.

use serde_json::json;
use sublog_tests::jwt;

const MEMORY: &str = "resolver: MEMORY";
const FOLDER: &str = "resolver { type: full, dir: jwt }";

/// An operator that is the same in every file.
fn operator() -> String {
    format!("operator: {}", jwt::operator_token(json!({"iat": 5})))
}

/// The token of its system account, the same in every file as well.
fn preload(name: &str) -> String {
    format!("{name} {{ {}: {} }}", jwt::account("SYS").public_key(), jwt::account_token("SYS", json!({"iat": 5})))
}

/// What stands around the keys of `resolver`.
pub(crate) fn around() -> (String, &'static str, &'static str) {
    let open = format!("{}, {}, resolver {{ ", operator(), preload("resolver_preload"));
    (open, "type: full, dir: jwt", " }")
}

/// Keys that need a certain value, others beside them, or others in their place: what stands in the block with the key, and without.
pub(crate) fn special(path: &str, name: &str) -> Option<(String, String)> {
    let instead = |with: String, without: &str| Some((with, without.to_owned()));
    match path {
        "operator" => {
            let name_it = operator().replacen("operator", name, 1);
            instead(format!("{name_it}, {}, {}", preload("resolver_preload"), FOLDER), "")
        }
        "trusted" => instead(format!("{name}: [{}], {MEMORY}", jwt::operator("O").public_key()), ""),
        "resolver" => {
            let beside = format!("{}, {}", operator(), preload("resolver_preload"));
            instead(format!("{name}: MEMORY, {beside}"), &format!("{FOLDER}, {beside}"))
        }
        "resolver_preload" => {
            let beside = format!("{}, {FOLDER}", operator());
            instead(format!("{}, {beside}", preload(name)), &beside)
        }
        "resolver_pinned_accounts" => {
            let beside = format!("{}, {}, {MEMORY}", operator(), preload("resolver_preload"));
            instead(format!("{name}: [{}], {beside}", jwt::account("SYS").public_key()), &beside)
        }
        "resolver.type" => instead(format!("{name}: full, dir: jwt"), "type: memory, dir: jwt"),
        "resolver.dir" => instead(format!("{name}: jwt, type: full"), "type: full, dir: jwt2"),
        "resolver.hard_delete" => {
            let beside = "allow_delete: true, type: full, dir: jwt";
            instead(format!("{name}: true, {beside}"), beside)
        }
        // The block around it ends where that of the tokens begins.
        "websocket.jwt_cookie" => {
            let port = "port: -1, no_tls: true";
            let beside =
                format!("}}, {}, {MEMORY}, {}", operator(), preload("resolver_preload").trim_end_matches(" }"));
            instead(format!("{name}: c, {port} {beside}"), &format!("{port} {beside}"))
        }
        _ => None,
    }
}

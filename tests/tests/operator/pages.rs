//! What is shown of operators, accounts and users.

use serde_json::json;
use sublog_tests::jwt;

use crate::{ask, asked, log_in, system, user_in, with_accounts};

#[test]
fn operators_and_accounts_are_shown() {
    let (u, now) = (jwt::user("u").public_key(), jwt::now());
    let claims = json!({"name": "acme", "nats": {"tags": ["region:eu"], "revocations": { u.as_str(): now - 100 }}});
    let token = jwt::account_token("A", claims);
    let configured = with_accounts(&[("A", token.clone())]);
    let server = &configured.server;
    let (a, sys) = (jwt::account("A").public_key(), jwt::account("SYS").public_key());
    let _client = user_in(server, "A", "v", json!({"name": "vee", "nats": {"tags": ["t:x"]}}));
    let varz = server.monitor("/varz");
    let operator = jwt::operator("O").public_key();
    assert_eq!(varz["trusted_operators_claim"][0]["sub"], operator, "{varz}");
    assert_eq!(varz["trusted_operators_claim"][0]["nats"]["system_account"], sys);
    assert!(varz["trusted_operators_jwt"][0].as_str().unwrap().starts_with("eyJ"));
    assert_eq!((&varz["system_account"], &varz["auth_required"]), (&sys.clone().into(), &true.into()));

    let page = server.monitor("/accountz");
    assert_eq!(page["system_account"], sys);
    let names: Vec<&str> = page["accounts"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(names.contains(&a.as_str()) && names.contains(&sys.as_str()) && names.contains(&"$G"), "{names:?}");
    let detail = &server.monitor(&format!("/accountz?acc={a}"))["account_detail"];
    let fields = ["account_name", "jwt", "issuer_key", "name_tag", "tags", "expired", "complete", "client_connections"];
    let found: Vec<_> = fields.iter().map(|field| &detail[*field]).collect();
    let expected = [
        json!(a),
        json!(token),
        json!(operator),
        json!("acme"),
        json!(["region:eu"]),
        json!(false),
        json!(true),
        json!(1),
    ];
    assert_eq!(found, expected.iter().collect::<Vec<_>>(), "{detail}");
    assert_eq!(detail["decoded_jwt"]["nats"]["type"], "account");
    assert_eq!(detail["decoded_jwt"]["nats"]["limits"]["conn"], -1);
    assert!(detail["revoked_user"][&u].is_string(), "{detail}");
    assert_eq!(server.monitor(&format!("/accountz?acc={sys}"))["account_detail"]["is_system"], true);

    let connection = &server.monitor("/connz?auth=1")["connections"][0];
    let found = ["authorized_user", "account", "issuer_key", "name_tag", "tags"].map(|field| &connection[field]);
    let v = jwt::user("v").public_key();
    assert_eq!(found, [&json!(v), &json!(a), &json!(a), &json!("acme"), &json!(["t:x"])], "{connection}");
    // The same, asked for over NATS, and who comes.
    let mut client = system(server);
    client.send(format!("SUB $SYS.ACCOUNT.{a}.CONNECT 7\r\n"));
    client.sync();
    let _other = user_in(server, "A", "w", json!({"nats": {"tags": ["t:y"]}}));
    let event: serde_json::Value = serde_json::from_slice(&client.message().payload).unwrap();
    let found = ["user", "acc", "issuer_key", "name_tag", "tags"].map(|field| &event["client"][field]);
    let w = jwt::user("w").public_key();
    assert_eq!(found, [&json!(w), &json!(a), &json!(a), &json!("acme"), &json!(["t:y"])], "{event}");
    let info = asked(&mut client, &format!("$SYS.REQ.ACCOUNT.{a}.INFO"), "");
    assert_eq!(info["data"]["decoded_jwt"]["name"], "acme", "{info}");
}

#[test]
fn an_account_that_is_not_what_it_says() {
    let import = json!({"account": jwt::account("nobody").public_key(), "subject": "s", "type": "stream"});
    let configured = with_accounts(&[
        ("A", jwt::account_token("A", json!({"nats": {"imports": [import]}}))),
        ("B", jwt::account_token("B", json!({"exp": jwt::now() + 8}))),
    ]);
    let server = &configured.server;
    let _a = user_in(server, "A", "u", json!({}));
    let detail = |name: &str| {
        let key = jwt::account(name).public_key();
        server.monitor(&format!("/accountz?acc={key}"))["account_detail"].clone()
    };
    assert_eq!(detail("A")["complete"], false);
    let _b = user_in(server, "B", "u", json!({}));
    crate::until("the end of B", || detail("B")["expired"] == true);
}

#[test]
fn users_ask_who_they_are() {
    let signing = jwt::account("A-signs");
    let scope = json!({"kind": "user_scope", "key": signing.public_key(), "role": "r",
                       "template": {"pub": {"allow": ["p.{{name()}}", "$SYS.REQ.USER.INFO"]}, "sub": {"deny": ["d"]}}});
    let claims = json!({"name": "acme", "nats": {"signing_keys": [scope]}});
    let configured = with_accounts(&[("A", jwt::account_token("A", claims))]);
    let token = jwt::scoped_token("A", &signing, "u", json!({"exp": jwt::now() + 1000}));
    let mut client = log_in(&configured.server, &token, &jwt::user("u"));
    let data = asked(&mut client, "$SYS.REQ.USER.INFO", "")["data"].clone();
    let (u, a) = (jwt::user("u").public_key(), jwt::account("A").public_key());
    let found = ["user", "account", "account_name", "user_name"].map(|field| data[field].as_str().unwrap_or_default());
    assert_eq!(found, [u.as_str(), a.as_str(), "acme", "u"], "{data}");
    let mut allowed = data["permissions"]["publish"]["allow"].as_array().unwrap().clone();
    allowed.sort_by_key(ToString::to_string);
    assert_eq!(json!(allowed), json!(["$SYS.REQ.USER.INFO", "p.u"]), "{data}");
    assert_eq!(data["permissions"]["subscribe"]["deny"], json!(["d"]));
    let left = data["expires"].as_i64().unwrap();
    assert!((900_000_000_000..=1_000_000_000_000).contains(&left), "{data}");
    let mut plain = user_in(&configured.server, "A", "v", json!({}));
    let answer = ask(&mut plain, "$SYS.REQ.USER.INFO", "");
    assert!(!answer.text().contains("permissions") && !answer.text().contains("expires"), "{}", answer.text());
}

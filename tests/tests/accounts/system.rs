//! The account from which the server is watched.

use crate::Configured;

const WATCHED: &str = r#"
jetstream: enabled
accounts {
  A { users: [ { user: a, password: a } ], jetstream: enabled }
  $SYS { users: [ { user: sys, password: sys } ] }
}
"#;

#[test]
fn pages_show_accounts() {
    let configured = Configured::start(WATCHED);
    let (_a, _sys) = (configured.user("a"), configured.user("sys"));
    let page = |path: &str| configured.server.monitor(path);
    assert_eq!(page("/varz")["system_account"], "$SYS");
    let accounts = page("/accountz");
    assert_eq!(accounts["system_account"], "$SYS");
    let mut names: Vec<&str> = accounts["accounts"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["$G", "$SYS", "A"]);
    let detail = &page("/accountz?acc=A")["account_detail"];
    assert_eq!((&detail["account_name"], &detail["client_connections"]), (&"A".into(), &1.into()), "{detail}");
    assert_eq!(detail["jetstream_enabled"], true);
    assert_eq!(page("/accountz?acc=$SYS")["account_detail"]["is_system"], true);
    let connections = page("/connz?acc=A&auth=1");
    assert_eq!(connections["num_connections"], 1);
    assert_eq!(connections["connections"][0]["account"], "A");
    let stats = page("/accstatz");
    let of_a = stats["account_statz"].as_array().unwrap().iter().find(|one| one["acc"] == "A").unwrap();
    assert_eq!(of_a["conns"], 1);
}

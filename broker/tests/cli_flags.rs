//! The server's command line: every flag reaches its option, every refusal names its flag.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use sublog_broker::cli::serve::{self, Program, Request, Serve};
use sublog_broker::config::Auth;
use sublog_broker::logging::{LogFormat, Syslog};
use sublog_storage::{ScrubOptions, SyncMode};

fn parse(line: &str) -> Result<Request, String> {
    let args: Vec<OsString> = line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect();
    serve::parse(&args).map_err(|error| error.to_string())
}

fn served(line: &str) -> Serve {
    match parse(line) {
        Ok(Request::Serve(serve)) => *serve,
        other => panic!("{line}: {other:?}"),
    }
}

fn refused(line: &str) -> String {
    match parse(line) {
        Err(text) => text,
        other => panic!("{line:?} must be refused: {other:?}"),
    }
}

#[test]
fn nothing_is_the_default_server() {
    let serve = served("");
    assert_eq!((serve.server.host.as_str(), serve.server.port), ("0.0.0.0", 4222));
    assert_eq!(serve.server.store_dir, PathBuf::from("sublog-data"));
    assert!(serve.server.capture.enabled && serve.server.capture.sync == SyncMode::Always);
    assert!(serve.log.time && !serve.log.debug && !serve.log.trace && serve.log.file.is_none());
}

#[test]
fn every_flag_reaches_its_option() {
    type Check = fn(&Serve) -> bool;
    const MS: Duration = Duration::from_millis(1);
    let cases: &[(&str, Check)] = &[
        ("-a ::1", |s| s.server.host == "::1"),
        ("--addr h", |s| s.server.host == "h"),
        ("--net=h", |s| s.server.host == "h"),
        ("-p 5", |s| s.server.port == 5),
        ("-p -1", |s| s.server.port == 0),
        ("-p=0", |s| s.server.port == 4222),
        ("--port 65535", |s| s.server.port == 65535),
        ("-n a", |s| s.server.name.as_deref() == Some("a")),
        ("-name a", |s| s.server.name.as_deref() == Some("a")),
        ("--server_name a", |s| s.server.name.as_deref() == Some("a")),
        ("-m 8222", |s| s.server.monitor_port == Some(8222)),
        ("--http_port -1", |s| s.server.monitor_port == Some(0)),
        ("-m 8222 -m 0", |s| s.server.monitor_port.is_none()),
        ("-P /run/x", |s| s.server.pid_file == Some("/run/x".into())),
        ("--pid /run/x", |s| s.server.pid_file == Some("/run/x".into())),
        ("--ports_file_dir /run", |s| s.server.ports_file_dir == Some("/run".into())),
        ("-sd d", |s| s.server.store_dir.as_os_str() == "d"),
        ("--sd=d", |s| s.server.store_dir.as_os_str() == "d"),
        ("--store_dir d", |s| s.server.store_dir.as_os_str() == "d"),
        ("-js=false", |s| !s.server.jetstream),
        ("--capture off", |s| !s.server.capture.enabled),
        ("--capture=off --capture=on", |s| s.server.capture.enabled),
        ("--sync os", |s| s.server.capture.sync == SyncMode::Os),
        ("--sync os --sync always", |s| s.server.capture.sync == SyncMode::Always),
        ("--sync interval", |s| s.server.capture.sync == SyncMode::Interval(1000 * MS)),
        ("--sync interval:250ms", |s| s.server.capture.sync == SyncMode::Interval(250 * MS)),
        ("--max-age 36h", |s| s.server.capture.max_age == Some(Duration::from_secs(36 * 3600))),
        ("--max_age off", |s| s.server.capture.max_age.is_none()),
        ("--max-bytes 10GiB", |s| s.server.capture.max_bytes == Some(10 << 30)),
        ("--max-bytes 1GiB --max-bytes 0", |s| s.server.capture.max_bytes.is_none()),
        ("--disk-reserve 5g", |s| s.server.capture.disk_reserve_bytes == 5_000_000_000),
        ("--compress on", |s| s.server.capture.compress),
        ("--compress=on --compress off", |s| !s.server.capture.compress),
        ("--scrub-interval 6h", |s| s.server.capture.scrub_interval == Some(Duration::from_secs(6 * 3600))),
        ("--scrub-interval off", |s| s.server.capture.scrub_interval.is_none()),
        ("--scrub-interval off --scrub_interval 24h", |s| {
            s.server.capture.scrub_interval == Some(ScrubOptions::default().interval)
        }),
        ("--scrub-rate 50M", |s| s.server.capture.scrub_bytes_per_s == 50_000_000),
        ("--scrub_rate 1MiB", |s| s.server.capture.scrub_bytes_per_s == 1 << 20),
        ("-l f", |s| s.log.file == Some("f".into())),
        ("--log f", |s| s.log.file == Some("f".into())),
        ("--log_size_limit 1MiB", |s| s.log.rotation.bytes_max == 1 << 20),
        ("-s", |s| s.log.syslog == Some(Syslog::Local)),
        ("-r udp://h:514", |s| s.log.syslog == Some(Syslog::Remote("udp://h:514".into()))),
        ("--log-format json", |s| s.log.format == LogFormat::Json),
        ("-T=false", |s| !s.log.time),
        ("--logtime=false", |s| !s.log.time),
        ("--logtime_utc", |s| s.log.utc),
        ("-D", |s| s.log.debug && !s.log.trace && !s.server.trace),
        ("--debug -D=false", |s| !s.log.debug),
        ("-V", |s| !s.log.debug && s.log.trace && s.server.trace),
        ("--trace", |s| s.log.trace && s.server.trace),
        ("-VV", |s| s.log.trace && s.server.trace),
        ("-DV", |s| s.log.debug && s.log.trace && s.server.trace),
        ("--DVV", |s| s.log.debug && s.log.trace && s.server.trace),
        (
            "--user u --pass p",
            |s| matches!(&s.server.auth, Auth::UserPassword { user, password } if user == "u" && password == "p"),
        ),
        ("-pass p -user u", |s| matches!(&s.server.auth, Auth::UserPassword { .. })),
        ("--auth t", |s| matches!(&s.server.auth, Auth::Token(token) if token == "t")),
        ("--max_payload 8MB", |s| s.server.limits.max_payload == 8 << 20),
        ("--max_pending 16MiB", |s| s.server.limits.max_pending == 16 << 20),
        ("--max_connections 10", |s| s.server.limits.max_connections == 10),
        ("--max_subscriptions 11", |s| s.server.limits.max_subscriptions == 11),
        ("--max_control_line 1kb", |s| s.server.limits.max_control_line == 1024),
        ("--ping_interval 20s", |s| s.server.limits.ping_interval == 20_000 * MS),
        ("--ping_max 3", |s| s.server.limits.ping_max == 3),
        ("--write_deadline 2s", |s| s.server.limits.write_deadline == 2000 * MS),
        ("--lame_duck_duration 30s", |s| s.server.lame_duck_duration == 30_000 * MS),
        ("--lame_duck_grace_period 0", |s| s.server.lame_duck_grace.is_zero()),
    ];
    let back_to_the_default = [
        "-p=0",
        "-m 8222 -m 0",
        "--capture=off --capture=on",
        "--sync os --sync always",
        "--max-bytes 1GiB --max-bytes 0",
        "--compress=on --compress off",
        "--scrub-interval off --scrub_interval 24h",
        "--debug -D=false",
    ];
    for (line, check) in cases {
        assert!(check(&served(line)), "{line}");
        // The flag made the difference, or the case would prove nothing.
        assert_eq!(check(&served("")), back_to_the_default.contains(line), "{line}");
    }
}

#[test]
fn help_and_version_in_every_form() {
    for line in ["-h", "--help", "-help", "help", "-p 1 help", "HELP"] {
        assert!(matches!(parse(line), Ok(Request::Help)), "{line}");
    }
    for line in ["-v", "--version", "version", "-D version"] {
        assert!(matches!(parse(line), Ok(Request::Version)), "{line}");
    }
}

#[test]
fn what_would_be_ignored_is_refused() {
    let flags = "--client_advertise --max_traced_msg_len --routes --cluster --cluster_listen --cluster_name \
                 --cluster_advertise --no_advertise --connect_retries --profile";
    for flag in flags.split_whitespace() {
        for line in [flag.to_owned(), format!("{flag}=x"), format!("-D {flag} x")] {
            let text = refused(&line);
            assert!(text.starts_with(&format!("{flag}: not supported by this server: ")), "{text}");
            assert!(!text.contains('\n'), "{text}");
        }
    }
}

#[test]
fn what_is_kept_depends_on_the_name() {
    let kept = |line: &str, program: &str, variable: Option<&str>| {
        let args: Vec<OsString> = line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect();
        let program = Program { capture: variable.map(OsString::from), ..Program::of(OsStr::new(program)) };
        match serve::parse_as(&args, &program) {
            Ok(Request::Serve(serve)) => (serve.server.jetstream, serve.server.capture.enabled, serve.server.store_dir),
            other => panic!("{line}: {other:?}"),
        }
    };
    let nats = |line: &str, variable: Option<&str>| {
        let (jetstream, capture, _) = kept(line, "/usr/bin/nats-server", variable);
        (jetstream, capture)
    };
    for (line, variable, expected) in [
        ("", None, (false, false)),
        ("-sd d", None, (false, false)),
        ("-js", None, (true, false)),
        ("--jetstream", Some("on"), (true, true)),
        ("", Some("on"), (false, true)),
        ("-js=false --capture on", Some("off"), (false, true)),
        ("--capture off", Some("on"), (false, false)),
    ] {
        assert_eq!(nats(line, variable), expected, "{line} {variable:?}");
    }
    let own = |line: &str, variable: Option<&str>| {
        let (jetstream, capture, _) = kept(line, "sublog", variable);
        (jetstream, capture)
    };
    assert_eq!(own("", None), (true, true));
    assert_eq!(own("-js=false", Some("off")), (false, false));
    assert_eq!(kept("-sd d", "nats-server", None).2, PathBuf::from("d/jetstream"));
    assert_eq!(kept("", "nats-server", None).2, std::env::temp_dir().join("nats/jetstream"));
    let wrong = Program { capture: Some("perhaps".into()), ..Program::default() };
    let text = serve::parse_as(&[], &wrong).unwrap_err().to_string();
    assert_eq!(text, "SUBLOG_CAPTURE: \"perhaps\" is neither true nor false");
}

#[test]
fn values_out_of_range_name_the_flag() {
    for line in [
        "-p 65536",
        "-p -2",
        "--port x",
        "-m 70000",
        "-n=",
        "-a=",
        "-sd=",
        "--capture maybe",
        "--sync sometimes",
        "--sync interval:0",
        "--sync interval:2h",
        "--sync interval:",
        "--sync always:1s",
        "--max-age 10",
        "--max-age 1ms",
        "--max-bytes 1k",
        "--max-bytes x",
        "--disk-reserve -1",
        "--compress zstd",
        "--scrub-interval 1ms",
        "--scrub-interval x",
        "--scrub-rate 0",
        "--scrub-rate 1k",
        "--log-format xml",
        "-T=perhaps",
        "--max_payload 0",
        "--max_payload 65MiB",
        "--max_pending 1k",
        "--max_connections 0",
        "--max_subscriptions -1",
        "--max_control_line 10",
        "--ping_interval 1ms",
        "--ping_interval 10",
        "--ping_max 0",
        "--write_deadline 0",
        "--lame_duck_duration 0",
        "--user=",
        "--log_size_limit x",
        "--signal now",
        "-t",
        "-c=",
    ] {
        let flag = line.split([' ', '=']).next().unwrap();
        let text = refused(line);
        assert!(text.starts_with(&format!("{flag}: ")), "{line}: {text}");
    }
}

#[test]
fn flags_that_contradict_each_other() {
    for (line, start) in [
        ("--user u", "--user: needs --pass"),
        ("--pass s3cret", "--pass: needs --user"),
        ("--auth s3cret --user u --pass s3cret", "--auth: "),
        ("--max_payload 2MiB --max_pending 1MiB", "--max_payload: "),
        ("--lame_duck_duration 5s", "--lame_duck_grace_period: "),
        ("-p 8222 -m 8222", "-m: "),
        ("-n -x y", "\"y\": unexpected word"),
        ("-T false", "\"false\": unexpected word; a switch takes its value after '='"),
        ("-p", "-p: needs a value"),
        ("--strore_dir d", "--strore_dir: no such flag; did you mean --store_dir?"),
    ] {
        let text = refused(line);
        assert!(text.starts_with(start), "{line}: {text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[test]
fn debug_output_of_options_holds_no_secret() {
    let shown = format!("{:?}", served("--user u --pass s3cret"));
    assert!(!shown.contains("s3cret"), "{shown}");
    let shown = format!("{:?}", served("--auth s3cret"));
    assert!(!shown.contains("s3cret"), "{shown}");
}

//! A server that compresses: what is sealed becomes smaller under its readers, and stays what it was.

use sublog_tests::clock;

use crate::{publish, read_up_to, segments, server};

#[test]
fn what_is_sealed_becomes_small_and_is_read_as_before() {
    let mut server = server(&["--compress", "on"]);
    let mut publisher = server.client();
    // One that has read the first and stands still, with the originals mapped.
    publish(&mut publisher, 0, 100);
    let mut early = server.client();
    early.subscribe("$REPLAY.all.damage.*", "1");
    assert_eq!(early.message().sequence(), 1);
    publish(&mut publisher, 100, 700);
    let sizes = || -> Vec<u64> {
        segments(&server).iter().filter_map(|path| std::fs::metadata(path).ok()).map(|file| file.len()).collect()
    };
    clock::until("everything sealed to be compressed", || {
        // The open segment is reserved whole; what is sealed held 35 MB of payloads that repeat themselves.
        let sizes = sizes();
        let (_open, sealed) = sizes.split_last()?;
        (sealed.iter().sum::<u64>() < 2_000_000).then_some(())
    });
    publish(&mut publisher, 700, 720);
    let all: Vec<u64> = (1..=720).collect();
    assert_eq!(read_up_to(&mut early, 720), all[1..]);
    let read_all = |server: &sublog_tests::TestServer, subject: &str, from: usize| {
        let mut reader = server.client();
        reader.subscribe(subject, "1");
        assert_eq!(read_up_to(&mut reader, 720), all[from..], "{subject}");
    };
    read_all(&server, "$REPLAY.all.>", 0);
    read_all(&server, "$REPLAY.seq.350.damage.a", 349);
    read_all(&server, "$REPLAY.last.100.damage.a", 620);
    // And after it died.
    server.kill9();
    server.restart();
    read_all(&server, "$REPLAY.all.damage.a", 0);
    assert_eq!(server.monitor("/streamz")["streams"][0]["damaged_ranges"], 0);
    server.stop();
}

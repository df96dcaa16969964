//! G2: crash states of real file systems with reordered, lost and torn block writes. `SUBLOG_BLOCK_STATES=<n>` looks at
//! that many, half of them on each file system.
//!
//! A process works on a log, on a file system whose disk this process is (`device.rs`), and says what was promised and
//! when. Then disks are made that a power cut may leave at any position of the tape: everything that was flushed, any
//! subset of the rest, torn at 512 bytes. Each is mounted, which replays the journal, and opened, and must keep what was promised
//! until then; some are written to and cut once more, also inside the replay of the journal and the recovery of the log.

mod device;
mod story;
mod tape;
mod workload;

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use sublog_storage::disk::sim::Chance;

use self::device::{Device, unavailable};
use self::story::{Counts, Story};
use self::tape::{Fate, Image, Op, Player};
use self::workload::Teller;
use crate::common::{env, report, skipped};
use crate::machine::{Fs, in_namespace, is_inside};

const STATES: &str = "SUBLOG_BLOCKS_STATES";
/// Positions at which the power of one life goes.
const CUTS_A_LIFE: u64 = 24;

#[test]
fn crash_states_of_ext4() {
    crash_states(Fs::Ext4, "blocks::crash_states_of_ext4");
}

#[test]
fn crash_states_of_xfs() {
    crash_states(Fs::Xfs, "blocks::crash_states_of_xfs");
}

fn crash_states(fs: Fs, test: &str) {
    let what = format!("block states of {}", fs.name());
    if !is_inside(test)
        && let Some(why) = unavailable(fs)
    {
        return skipped("G2", &what, &why);
    }
    let states = env("SUBLOG_BLOCK_STATES", 200).div_ceil(2);
    in_namespace(test, &[(STATES, states.to_string())], || {
        let start = Instant::now();
        let counts = explore(fs, env(STATES, 1), None);
        report("G2", &what, &format!("{} in {:.0} s", counts.line(), start.elapsed().as_secs_f64()), counts.failures());
        assert_eq!(counts.failures(), 0, "{counts:?}");
        // Both file systems read blocks of their own metadata before they replay their journals, and give up if one is torn.
        assert!(counts.unmountable <= counts.states / 4, "{counts:?}");
        assert!(counts.lossy > 0 && counts.torn > 0 && counts.double > 0, "{counts:?}");
        assert!(counts.acks_checked > counts.states, "{counts:?}");
        // Of few lives, none may have rewritten anything.
        assert!(counts.states < 2000 || counts.rewritten > 0 && counts.removals_checked > counts.states, "{counts:?}");
    });
}

/// Looks at `states` states, or, with a planted mistake, at states until it shows.
fn explore(fs: Fs, states: u64, bug: Option<&str>) -> Counts {
    let seed = env("SUBLOG_FAULTS_SEED", u64::from(std::process::id()));
    println!("seed {seed}");
    let mut counts = Counts::default();
    let (mut device, empty) = Device::make(fs);
    let mut life = seed << 16;
    while counts.states < states && (bug.is_none() || counts.failures() == 0) {
        life += 1;
        let mut chance = Chance::new(life);
        device.load(&empty);
        assert!(device.mount());
        let said = workload::live(&device.root().join("log"), &device.position_path(), life, bug);
        device.unmount();
        let tape = device.take_tape();
        let mut story = Story::default();
        said.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).for_each(|line| story.take(line));
        assert!(story.len() > 100, "{said}");
        let mut cuts: Vec<usize> = (0..CUTS_A_LIFE).map(|_| cut(&story, &tape, &mut chance)).collect();
        cuts.sort_unstable();
        let mut player = Player::new(empty.clone(), &tape);
        for at in cuts {
            let (image, fate) = player.state_at(at, &mut chance);
            count(&mut counts, fate);
            let more = chance.percent(30);
            let looked = look(&mut device, &image, &story, at, life, &mut chance, more, &mut counts);
            if let Some((after, until_open)) = looked {
                cut_again(&mut device, &image, &after, until_open, life, &mut chance, &mut counts);
            }
        }
    }
    counts
}

/// A position where the power goes: right behind a promise, shortly before a flush, when most is at stake, or anywhere.
fn cut(story: &Story, tape: &[Op], chance: &mut Chance) -> usize {
    let nearby = usize::try_from(chance.below(3)).unwrap();
    let anywhere = usize::try_from(chance.below(tape.len() as u64 + 1)).unwrap();
    match chance.below(10) {
        0..3 if story.len() > 0 => {
            let i = chance.below(story.len() as u64);
            (story.position_of(usize::try_from(i).unwrap()) + nearby).min(tape.len())
        }
        3..8 => {
            let left = tape[anywhere..].iter().position(|op| matches!(op, Op::Flush)).unwrap_or(0);
            (anywhere + left).saturating_sub(nearby)
        }
        _ => anywhere,
    }
}

fn count(counts: &mut Counts, fate: Fate) {
    counts.states += 1;
    counts.lossy += u64::from(fate.lost > 0);
    counts.torn += u64::from(fate.torn > 0);
}

/// Mounts and opens a state and checks it. With `more`, goes on with the log, and returns the promises from here on and the
/// position at which it was open; the tape of it stays in the device.
#[expect(clippy::too_many_arguments, reason = "the ingredients of one state")]
fn look(
    device: &mut Device,
    image: &Image,
    story: &Story,
    at: usize,
    life: u64,
    chance: &mut Chance,
    more: bool,
    counts: &mut Counts,
) -> Option<(Story, usize)> {
    device.load(image);
    if !device.mount() {
        counts.unmountable += 1;
        return None;
    }
    let mut after = None;
    match workload::open(&device.root().join("log"), life) {
        // Whether the folder was made durable is part of what a log promises; before that nothing was promised.
        Err(error) => {
            println!("cannot be opened at {at}: {error}");
            counts.unusable += 1;
        }
        Ok((log, found)) => {
            let until_open = device.position();
            let readable = story.check(at, &log, &found, counts);
            let mut story = story.up_to(at);
            let said = Arc::new(Mutex::new(String::new()));
            let (teller, position) = recorder(device, &said);
            readable.iter().for_each(|seq| story.take(&format!("{position} served {seq}")));
            // It must be of use, and number on. No life has these identities.
            let mut next_id = 1 << 63 | counts.states << 24;
            let mut acked = workload::publish(&log, &teller, chance, &mut next_id);
            if more {
                acked.extend(workload::publish(&log, &teller, chance, &mut next_id));
                acked.into_iter().for_each(|range| workload::remove_some(&log, &teller, range, chance));
                let _ = log.maintain().unwrap();
                after = Some(until_open);
            }
            drop(log);
            said.lock().lines().for_each(|line| story.take(line));
            device.unmount();
            return after.map(|until_open| (story, until_open));
        }
    }
    device.unmount();
    None
}

/// Says what happens in this process, with positions of the device's tape.
fn recorder(device: &Device, said: &Arc<Mutex<String>>) -> (Arc<Teller>, usize) {
    let (position, out) = (std::fs::File::open(device.position_path()).unwrap(), Arc::clone(said));
    let now = device::position_in(&position);
    let teller = Teller {
        position: Box::new(move || device::position_in(&position)),
        say: Box::new(move |line| out.lock().push_str(line)),
    };
    (Arc::new(teller), now)
}

/// Second crashes: of what was done to a state, from its mounting on.
fn cut_again(
    device: &mut Device,
    before: &Image,
    story: &Story,
    until_open: usize,
    life: u64,
    chance: &mut Chance,
    counts: &mut Counts,
) {
    let tape = device.take_tape();
    let mut cuts = [
        usize::try_from(chance.below(until_open as u64 + 1)).unwrap(),
        cut(story, &tape, chance),
        cut(story, &tape, chance),
    ];
    cuts.sort_unstable();
    let mut player = Player::new(before.clone(), &tape);
    for at in cuts {
        let (image, fate) = player.state_at(at, chance);
        count(counts, fate);
        counts.double += 1;
        counts.inside_recovery += u64::from(at < until_open);
        look(device, &image, story, at, life, chance, false, counts);
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn mistakes_are_caught_in_block_states() {
    let test = "blocks::mistakes_are_caught_in_block_states";
    if !is_inside(test)
        && let Some(why) = unavailable(Fs::Ext4)
    {
        return skipped("G2", "planted mistakes", &why);
    }
    in_namespace(test, &[], || {
        for bug in ["ack before sync", "removal acknowledged before its sync", "rename before sync"] {
            let counts = explore(Fs::Ext4, 3000, Some(bug));
            assert!(counts.failures() > 0, "{bug} was not caught: {counts:?}");
            report("G2", &format!("planted: {bug}"), &format!("caught after {} states", counts.states), 0);
        }
    });
}

//! Where the network cuts a stream makes no difference.

use std::mem::discriminant;

use proptest::prelude::*;
use sublog_protocol::decode::{DecodeError, Limits, ServerStep, Step, decode_client, decode_server};

use crate::streams::{self, Manner, OwnedOp};

/// The operations with their bytes, and the end of each in the stream.
fn stream(ops: &[(OwnedOp, Manner)], from_client: bool) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    for (op, manner) in ops {
        bytes.extend(manner.write(op, from_client));
        ends.push(bytes.len());
    }
    (bytes, ends)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Cut at every byte: before the cut come exactly the operations that end there, the wait is for no
    /// more than the operation that is cut, and from its start on the rest follows.
    #[test]
    fn client_streams(ops in prop::collection::vec((streams::client_op(), streams::manner()), 1..6)) {
        let limits = Limits::default();
        let (bytes, ends) = stream(&ops, true);
        for cut in 0..=bytes.len() {
            let mut start = 0;
            for (index, (op, _)) in ops.iter().enumerate() {
                let first = decode_client(&bytes[start..cut], &limits).unwrap();
                let step = match first {
                    Step::Op { .. } => first,
                    Step::NeedMore { at_least } => {
                        prop_assert!(cut < ends[index]);
                        prop_assert!(at_least > cut.saturating_sub(start) && start + at_least <= ends[index]);
                        decode_client(&bytes[start..], &limits).unwrap()
                    }
                };
                let Step::Op { op: found, consumed } = step else { panic!("{step:?}") };
                streams::assert_client(op, &found);
                start += consumed;
                prop_assert_eq!(start, ends[index]);
                if start >= cut {
                    break;
                }
            }
        }
    }

    #[test]
    fn server_streams(ops in prop::collection::vec((streams::server_op(), streams::manner()), 1..6)) {
        let (bytes, ends) = stream(&ops, false);
        for cut in 0..=bytes.len() {
            let mut start = 0;
            for (index, (op, _)) in ops.iter().enumerate() {
                let first = decode_server(&bytes[start..cut], usize::MAX).unwrap();
                let step = match first {
                    ServerStep::Op { .. } => first,
                    ServerStep::NeedMore { at_least } => {
                        prop_assert!(cut < ends[index]);
                        prop_assert!(at_least > cut.saturating_sub(start) && start + at_least <= ends[index]);
                        decode_server(&bytes[start..], usize::MAX).unwrap()
                    }
                };
                let ServerStep::Op { op: found, consumed } = step else { panic!("{step:?}") };
                streams::assert_server(op, &found);
                start += consumed;
                prop_assert_eq!(start, ends[index]);
                if start >= cut {
                    break;
                }
            }
        }
    }

    /// A reader that waits for exactly what it is told to wait for gets through in as many rounds as the
    /// stream has bytes at most.
    #[test]
    fn waiting_for_what_was_asked(ops in prop::collection::vec((streams::client_op(), streams::manner()), 1..6)) {
        let limits = Limits::default();
        let (bytes, _) = stream(&ops, true);
        let (mut start, mut held, mut decoded, mut rounds) = (0, 0, 0, 0);
        while start < bytes.len() {
            rounds += 1;
            prop_assert!(rounds <= bytes.len() + ops.len());
            match decode_client(&bytes[start..held], &limits).unwrap() {
                Step::Op { op, consumed } => {
                    streams::assert_client(&ops[decoded].0, &op);
                    decoded += 1;
                    start += consumed;
                }
                Step::NeedMore { at_least } => {
                    prop_assert!(start + at_least > held);
                    held = start + at_least;
                    prop_assert!(held <= bytes.len());
                }
            }
        }
        prop_assert_eq!(decoded, ops.len());
    }

    /// A broken stream breaks in the same way, after the same operations, whether it comes at once or byte
    /// by byte.
    #[test]
    fn broken_streams(
        ops in prop::collection::vec((streams::client_op(), streams::manner()), 1..5),
        at in any::<prop::sample::Index>(),
        with in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..3),
            "[ \r\n0-9A-Z]{0,3}".prop_map(String::into_bytes),
            " {0,60}".prop_map(String::into_bytes),
        ],
    ) {
        let limits = Limits { max_control_line: 40, max_payload: 30, headers: true };
        let (mut bytes, _) = stream(&ops, true);
        let at = at.index(bytes.len());
        bytes.splice(at..=at, with);
        prop_assert_eq!(outcome(&bytes, &limits, bytes.len()), outcome(&bytes, &limits, 1));
    }
}

/// The ends of the operations in `bytes` arriving `step` bytes at a time, and how it broke if it did.
fn outcome(bytes: &[u8], limits: &Limits, step: usize) -> (Vec<usize>, Option<std::mem::Discriminant<DecodeError>>) {
    let (mut ends, mut start, mut held) = (Vec::new(), 0, 0);
    loop {
        match decode_client(&bytes[start..held], limits) {
            Ok(Step::Op { consumed, .. }) => {
                start += consumed;
                ends.push(start);
            }
            Ok(Step::NeedMore { .. }) if held == bytes.len() => return (ends, None),
            Ok(Step::NeedMore { .. }) => held = (held + step.max(1)).min(bytes.len()),
            Err(error) => return (ends, Some(discriminant(&error))),
        }
    }
}

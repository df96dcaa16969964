//! Steps to measure. Each is made ready once and can then be taken again and again; each returns a number that only the
//! right work yields, so that nothing is left out by a compiler or by a mistake.

mod log;
mod wire;

pub use log::{Appending, Indexed, Reading, Recovery};
pub use wire::{Decoding, Encoding, Matching};

/// Payload of every message here, bytes.
pub const PAYLOAD_BYTES: usize = 128;

/// What can go wrong while a step is made ready or taken.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_do_their_work_again_and_again() {
        let decoding = Decoding::of(100);
        assert_eq!((decoding.step().unwrap(), decoding.step().unwrap()), (100, 100));
        let mut matching = Matching::among(1000);
        assert_eq!(matching.step(), matching.step());
        assert!(matching.step() > Matching::SUBJECTS);
        let mut encoding = Encoding::default();
        assert_eq!(encoding.step(10), encoding.step(10));
        let mut appending = Appending::new().unwrap();
        assert_eq!((appending.step().unwrap(), appending.step().unwrap()), (1000, 2000));
        let reading = Reading::of(2000).unwrap();
        assert_eq!((reading.step().unwrap(), reading.step().unwrap()), (2000, 2000));
        assert_eq!(Reading::in_memory(2000).unwrap().step().unwrap(), 2000);
        let indexed = Indexed::of(2000, 100).unwrap();
        assert_eq!((indexed.step(7).unwrap(), indexed.step(8).unwrap()), (20, 20));
        let recovery = Recovery::of(2000).unwrap();
        assert_eq!((recovery.step().unwrap(), recovery.step().unwrap()), (2000, 2000));
    }
}

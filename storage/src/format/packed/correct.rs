//! Finding the one bit that flipped, from the checksum alone.
//!
//! CRC-32 is linear: a flipped bit changes it by a value that depends only on the bit's distance from the end. Those values
//! follow from each other by one step of the checksum's shift register a byte, so the bit is found in one pass.

/// Bytes among which a flipped bit is looked for. Beyond that two flips could too easily look like one.
const SPAN_MAX: usize = 1 << 20;

/// The register's step over a zero byte, for each value of its low byte.
const STEP: [u32; 256] = {
    let mut table = [0_u32; 256];
    let mut i = 0;
    while i < 256 {
        let mut value = i as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        {
            table[i] = value;
        }
        i += 1;
    }
    table
};

fn step(value: u32) -> u32 {
    let [low, ..] = value.to_le_bytes();
    (value >> 8) ^ STEP.get(usize::from(low)).copied().unwrap_or(0)
}

/// The bit (its byte, and a mask) of `bytes` with whose flipping their checksum becomes `crc`; `None` if no single one does.
pub(super) fn flipped_bit(bytes: &[u8], crc: u32) -> Option<(usize, u8)> {
    let difference = crc32fast::hash(bytes) ^ crc;
    if difference == 0 || bytes.len() > SPAN_MAX {
        return None;
    }
    let mut values: [u32; 8] = std::array::from_fn(|bit| step(1 << bit));
    for at in (0..bytes.len()).rev() {
        if let Some(bit) = values.iter().position(|&value| value == difference) {
            return Some((at, 1 << bit));
        }
        values = values.map(step);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_single_bit_is_found_and_two_never_pass_for_one() {
        let right: Vec<u8> = (0..700_u32).map(|i| (i * i % 251) as u8).collect();
        let crc = crc32fast::hash(&right);
        assert_eq!(flipped_bit(&right, crc), None);
        for bit in 0..right.len() * 8 {
            let mut wrong = right.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(flipped_bit(&wrong, crc), Some((bit / 8, 1 << (bit % 8))));
            let other = (bit * 7 + 13) % (right.len() * 8);
            if other != bit {
                wrong[other / 8] ^= 1 << (other % 8);
                assert_eq!(flipped_bit(&wrong, crc), None, "bits {bit} and {other}");
            }
        }
    }
}

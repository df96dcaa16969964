//! Blocks made and taken apart: right, with each bit flipped, and as any bytes.

use super::super::TAIL_BYTES;
use super::*;
use crate::batch::RecordBatch;
use crate::disk::sim::Chance;

/// Records with their numbers.
fn records(seed: u64, random: bool) -> Vec<(u64, Vec<u8>)> {
    let mut chance = Chance::new(seed);
    let mut seq = 1000;
    (0..40)
        .map(|i| {
            seq += 1 + chance.below(3);
            let mut batch = RecordBatch::new();
            let len = if random { 1000 } else { chance.below(60) };
            let payload: Vec<u8> = (0..len).map(|k| if random { chance.bits() as u8 } else { (k % 7) as u8 }).collect();
            batch.push(i, b"some.subject", b"", &payload).unwrap();
            (seq, batch.body)
        })
        .collect()
}

fn block(codec: Codec, records: &[(u64, Vec<u8>)]) -> (FrameHeader, Vec<u8>) {
    let mut builder = Builder::new(codec, 128 << 10).unwrap();
    for (seq, record) in records {
        assert!(builder.takes(*seq, record));
        builder.push(*seq, record);
    }
    let stored = builder.finish().unwrap();
    let header = FrameHeader {
        kind: FrameKind::Packed(stored.packing),
        offset: 0,
        durable: 0,
        nonce: 5,
        first_seq: stored.first_seq,
        max_ts: 0,
        count: stored.count,
        body_len: u32::try_from(stored.bytes.len()).unwrap(),
        prev_crc: 0,
        dir_crc: stored.crc,
        crc: 0,
    };
    (header, stored.bytes.to_vec())
}

fn read(block: &Block) -> Vec<Option<(u64, Vec<u8>)>> {
    let mut at = 0;
    (0..block.count())
        .map(|i| {
            let (slot, next) = block.slot(i, at);
            at = next;
            match slot {
                Slot::Good(record) => Some((block.seq(i), record.to_vec())),
                Slot::Lost => None,
            }
        })
        .collect()
}

#[test]
fn what_goes_in_comes_out_and_is_found_by_number() {
    for codec in [Codec::None, Codec::Zstd] {
        let records = records(1, false);
        let (mut header, stored) = block(codec, &records);
        let mut file = header.encode().to_vec();
        file.extend_from_slice(&stored);
        assert_eq!(FrameHeader::decode(&file, Some(5), 0, file.len() as u64), Some(header));
        assert!(header.directory_is_right(&file) && header.frame_bytes() == file.len() as u64);
        let decoded = Block::decode(&header, stored.clone().into()).unwrap();
        assert!(decoded.is_whole());
        assert_eq!(read(&decoded), records.iter().cloned().map(Some).collect::<Vec<_>>());
        assert_eq!(header.next_seq(), records.last().unwrap().0 + 1);
        assert_eq!(codec == Codec::Zstd, stored.len() * 2 < decoded.content().len());
        for seq in 990..1200 {
            let expected = records.partition_point(|record| record.0 < seq);
            let (i, at) = decoded.find(seq);
            assert_eq!((i as usize, at), (expected, records[..expected].iter().map(|r| r.1.len()).sum()));
        }
    }
}

#[test]
fn what_does_not_shrink_is_stored_as_it_is() {
    let (header, stored) = block(Codec::Zstd, &records(2, true));
    assert!(matches!(header.kind, FrameKind::Packed(Packing { codec: Codec::None, .. })));
    assert!(Block::decode(&header, stored.into()).is_some());
}

#[test]
fn after_some_misses_most_blocks_are_not_tried() {
    let mut builder = Builder::new(Codec::Zstd, 128 << 10).unwrap();
    let mut compressed = Vec::new();
    for round in 0..40 {
        for (seq, record) in records(round, round < 6) {
            builder.push(seq, &record);
        }
        compressed.push(builder.finish().unwrap().packing.codec == Codec::Zstd);
        builder.clear();
    }
    assert!(compressed[..16].iter().all(|&done| !done), "{compressed:?}");
    assert!(compressed[17..].iter().all(|&done| done), "{compressed:?}");
}

#[test]
fn a_flipped_bit_costs_at_most_its_record_and_none_where_it_can_be_found() {
    for codec in [Codec::None, Codec::Zstd] {
        let records = records(3, false);
        let (header, stored) = block(codec, &records);
        let tail = records.len() * TAIL_BYTES;
        for bit in 0..stored.len() * 8 {
            let mut wrong = stored.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let decoded = Block::decode_or_salvage(&header, wrong.into()).unwrap();
            let now = read(&decoded);
            let lost = now.iter().filter(|record| record.is_none()).count();
            assert!(now.iter().zip(&records).all(|(now, right)| now.as_ref().is_none_or(|now| now == right)));
            let in_records = codec == Codec::None && bit / 8 < stored.len() - tail;
            assert_eq!((lost, decoded.is_whole()), (usize::from(in_records), in_records), "bit {bit}");
        }
    }
}

#[test]
fn more_damage_costs_the_block_or_is_confined_but_is_never_served() {
    let mut chance = Chance::new(9);
    for codec in [Codec::None, Codec::Zstd] {
        for contiguous in [false, true] {
            let mut records = records(4, false);
            if contiguous {
                records.iter_mut().zip(500..).for_each(|(record, seq)| record.0 = seq);
            }
            let (header, stored) = block(codec, &records);
            let (mut whole_blocks, mut some) = (0, 0);
            for _ in 0..3000 {
                let mut wrong = stored.clone();
                let at = chance.below(wrong.len() as u64) as usize;
                let len = 1 + chance.below(64) as usize;
                for byte in wrong.iter_mut().skip(at).take(len) {
                    *byte = chance.bits() as u8;
                }
                match Block::decode_or_salvage(&header, wrong.into()) {
                    None => whole_blocks += 1,
                    Some(decoded) => {
                        some += 1;
                        let now = read(&decoded);
                        assert!(now.iter().flatten().all(|record| records.contains(record)));
                    }
                }
            }
            assert!(some > 0 && (whole_blocks == 0) == (contiguous && codec == Codec::None));
        }
    }
}

#[test]
fn any_header_is_met_without_harm() {
    let mut chance = Chance::new(5);
    let (header, stored) = block(Codec::Zstd, &records(5, false));
    let FrameKind::Packed(packing) = header.kind else { panic!() };
    for _ in 0..3000 {
        let mut changed = header;
        let value = if chance.percent(50) { chance.bits() as u32 } else { chance.below(3000) as u32 };
        let mut packing = packing;
        match chance.below(4) {
            0 => packing.content_len = value,
            1 => packing.span = value,
            2 => changed.count = value,
            _ => packing.codec = Codec::None,
        }
        changed.kind = FrameKind::Packed(packing);
        let bytes = [changed.encode().to_vec(), stored.clone()].concat();
        // Only what the decoder of headers lets through is ever taken apart.
        if let Some(read) = FrameHeader::decode(&bytes, Some(5), 0, bytes.len() as u64) {
            let block = Block::decode_or_salvage(&read, stored.clone().into());
            assert!(block.is_none() || changed == header || packing.codec == Codec::None);
        }
    }
    let bomb = zstd::bulk::compress(&vec![0; 100 << 20], 3).unwrap();
    let packing = Packing { codec: Codec::Zstd, span: 0, content_len: 100 << 20 };
    assert!(!packing.fits(1, u32::try_from(bomb.len()).unwrap()));
    let packing = Packing { content_len: 60_000, ..packing };
    assert!(decompressed(&packing, 0, &bomb).is_none());
}

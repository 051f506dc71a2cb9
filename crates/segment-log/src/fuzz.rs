//! Segments that were mutilated at random: the reader must end, must not panic, and must not make anything up.

use std::collections::BTreeSet;

use disk::{Disk, SimulatedDisk};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::tests::{on_disk, read_segment, record, reopen};
use crate::{SegmentInfo, read};

/// One thing that is done to a file.
#[derive(Debug, Clone)]
enum Mutation {
    Flip(Index, u8),
    Truncate(Index),
    Grow(Vec<u8>),
    Fill(Index, Index, u8),
    /// Takes bytes of the file, or of another segment, and puts them elsewhere: over what is there, or between.
    Splice {
        other: bool,
        from: (Index, Index),
        to: Index,
        over: bool,
    },
    Cut(Index, Index),
    /// Puts a length where a frame or anything else may have one.
    Length(Index, u32),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    prop_oneof![
        (index(), 1..=255u8).prop_map(|(at, flip)| Mutation::Flip(at, flip)),
        index().prop_map(Mutation::Truncate),
        proptest::collection::vec(any::<u8>(), 1..100).prop_map(Mutation::Grow),
        (index(), index(), any::<u8>()).prop_map(|(a, b, byte)| Mutation::Fill(a, b, byte)),
        (any::<bool>(), (index(), index()), index(), any::<bool>())
            .prop_map(|(other, from, to, over)| Mutation::Splice { other, from, to, over }),
        (index(), index()).prop_map(|(a, b)| Mutation::Cut(a, b)),
        (index(), prop_oneof![Just(0), Just(u32::MAX), Just(256 << 20), any::<u32>()])
            .prop_map(|(at, length)| Mutation::Length(at, length)),
    ]
}

/// A range within `length` bytes.
fn range(length: usize, a: Index, b: Index) -> std::ops::Range<usize> {
    let (a, b) = (a.index(length + 1), b.index(length + 1));
    a.min(b)..a.max(b)
}

fn mutate(bytes: &mut Vec<u8>, other: &[u8], mutation: &Mutation) {
    let length = bytes.len();
    match mutation {
        Mutation::Flip(at, flip) if length > 0 => bytes[at.index(length)] ^= flip,
        Mutation::Flip(..) => {}
        Mutation::Truncate(at) => bytes.truncate(at.index(length + 1)),
        Mutation::Grow(more) => bytes.extend(more),
        Mutation::Fill(a, b, byte) => bytes[range(length, *a, *b)].fill(*byte),
        Mutation::Splice { other: from_other, from, to, over } => {
            let source = if *from_other { other } else { &bytes[..] };
            let taken = source[range(source.len(), from.0, from.1)].to_vec();
            let to = to.index(length + 1);
            let replaced = if *over { length.min(to + taken.len()) } else { to };
            bytes.splice(to..replaced, taken);
        }
        Mutation::Cut(a, b) => drop(bytes.drain(range(length, *a, *b))),
        Mutation::Length(at, new) => {
            let at = at.index(length + 1);
            for (byte, new) in bytes[at..].iter_mut().zip(new.to_le_bytes()) {
                *byte = new;
            }
        }
    }
}

/// Two segments with records that are all different, and the path of the first.
fn two_segments(lengths: &[usize]) -> (SimulatedDisk, SegmentInfo, Vec<u8>, BTreeSet<Vec<u8>>) {
    let disk = SimulatedDisk::new(1);
    let log = reopen(&disk, u64::MAX);
    let mut first = BTreeSet::new();
    for segment in 0..2u8 {
        for (number, length) in lengths.iter().enumerate() {
            let mut payload = vec![segment, number as u8];
            payload.resize(2 + length, 0xa5);
            log.append(&mut record(&payload)).expect("appends");
            if segment == 0 {
                first.insert(payload);
            }
        }
        log.rotate().expect("rotates");
    }
    let segments = on_disk(&disk);
    let other = disk.read(&segments[1].path).expect("reads").to_vec();
    (disk, segments[0].clone(), other, first)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_made_up(
        lengths in proptest::collection::vec(0..200usize, 0..10),
        mutations in proptest::collection::vec(mutation(), 1..6),
    ) {
        let (disk, segment, other, written) = two_segments(&lengths);
        disk.damage(&segment.path, |bytes| mutations.iter().for_each(|m| mutate(bytes, &other, m))).expect("is there");
        // Checks that records and damage cover the file.
        let segment = SegmentInfo { bytes: disk.read(&segment.path).expect("reads").len() as u64, ..segment };
        let (found, _) = read_segment(&disk, &segment);
        let distinct: BTreeSet<_> = found.iter().cloned().collect();
        prop_assert_eq!(distinct.len(), found.len(), "nothing is read twice");
        prop_assert!(distinct.is_subset(&written), "nothing is read that was not written here");
    }

    #[test]
    fn noise_is_damage(noise in proptest::collection::vec(any::<u8>(), 1..2000), number in any::<u64>()) {
        let disk = SimulatedDisk::new(1);
        disk.create("noise".as_ref()).expect("creates").append(&noise).expect("appends");
        let segment = SegmentInfo { number, bytes: noise.len() as u64, path: "noise".into() };
        let reader = read(&disk, &segment).expect("opens");
        let all: Vec<_> = reader.records().collect();
        prop_assert_eq!(all.len(), 1);
        prop_assert_eq!(all[0].expect_err("is no record").bytes, noise.len() as u64);
    }
}

/// A file made of what the reader looks for behind damage costs time in proportion to its length, not to its square.
#[test]
fn a_file_full_of_markers_ends() {
    let (disk, segment, ..) = two_segments(&[10]);
    let fill = |bytes: &mut Vec<u8>| {
        let marker = bytes[20..24].to_vec();
        bytes.truncate(32);
        bytes.extend(marker.iter().cycle().take(1 << 20));
    };
    disk.damage(&segment.path, fill).expect("is there");
    let segment = SegmentInfo { bytes: 32 + (1 << 20), ..segment };
    let (found, damages) = read_segment(&disk, &segment);
    assert_eq!((found.len(), damages.len()), (0, 1));
}

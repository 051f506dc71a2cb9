//! One situation at a time.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

use disk::{Disk, Fault, RealDisk, SimulatedDisk};
use proptest::prelude::*;

use super::{FOLDER, on_disk, read_all, read_segment, record, reopen, small_log};
use crate::format::{FRAME_HEADER, SEGMENT_HEADER, VERSION};
use crate::{Damage, DamageKind, Log, LogError, MAX_RECORD_BYTES, Options, Record, quarantine, read, segments};

#[test]
fn a_record_is_the_bytes_that_were_put_into_it() {
    let mut record = Record::new();
    assert!(record.is_empty());
    record.push(b'a');
    record.extend_from_slice(b"bc");
    record.extend([b'd']);
    record.write_all(b"ef").expect("takes everything");
    record[0] = b'A';
    record.truncate(5);
    assert_eq!(&*record, b"Abcde");
    record.clear();
    assert!(record.is_empty());
    assert!(record.capacity() >= 5, "the memory stays");
}

#[test]
fn positions_grow_by_what_was_written() {
    let (disk, log) = small_log(1);
    assert_eq!((log.written(), log.synced(), log.segment(), log.bytes_on_disk()), (0, 0, 1, 32));
    assert_eq!(log.append(&mut record(b"")).expect("nothing to do"), 0);
    assert_eq!(log.append(&mut record(b"abc")).expect("appends"), 19);
    assert_eq!(log.append(&mut record(b"d")).expect("appends"), 36);
    assert_eq!((log.written(), log.synced(), log.bytes_on_disk()), (36, 0, 68));
    assert_eq!(log.sync().expect("flushes"), 36);
    assert_eq!(log.sync().expect("has nothing to do"), 36);
    assert_eq!(log.rotate().expect("rotates"), 2);
    assert_eq!(log.append(&mut record(b"ef")).expect("appends"), 54);
    assert_eq!((log.synced(), log.segment(), log.bytes_on_disk()), (36, 2, 118));
    log.remove_before(2).expect("removes");
    assert_eq!((log.written(), log.bytes_on_disk()), (54, 50));
    assert_eq!(read_all(&disk).0, [b"ef"]);
    log.remove_before(u64::MAX).expect("removes nothing");
    assert_eq!(read_all(&disk).0, [b"ef"], "the segment that takes records stays");
}

#[test]
fn segments_rotate_by_size_and_a_large_record_has_its_own() {
    let (disk, log) = small_log(1);
    for length in [400, 400, 400, 5000, 1] {
        log.append(&mut record(&vec![7; length])).expect("appends");
    }
    let lengths: Vec<(u64, u64)> = on_disk(&disk).iter().map(|segment| (segment.number, segment.bytes)).collect();
    assert_eq!(lengths, [(1, 32 + 832), (2, 32 + 416), (3, 32 + 5016), (4, 32 + 17)]);
    assert_eq!(log.bytes_on_disk(), lengths.iter().map(|(_, bytes)| bytes).sum());
}

#[test]
fn what_is_too_large_is_refused() {
    let (disk, log) = small_log(1);
    let refused = log.append(&mut record(&vec![0; MAX_RECORD_BYTES + 1])).expect_err("is too large");
    assert!(matches!(refused, LogError::TooLarge { .. }), "{refused}");
    assert_eq!((log.written(), read_all(&disk).0.len()), (0, 0));
}

#[test]
fn a_log_goes_on_behind_what_is_there() {
    let (disk, log) = small_log(1);
    log.append(&mut record(b"old")).expect("appends");
    disk.kill();
    for foreign in ["12.log", "00000000x1.log", "notes", "0000000001.log.tmp"] {
        disk.create(&Path::new(FOLDER).join(foreign)).expect("creates").append(b"junk").expect("appends");
    }
    let log = reopen(&disk, 1000);
    assert_eq!((log.segment(), log.written()), (2, 0));
    assert_eq!(log.bytes_on_disk(), 32 + 19 + 32);
    log.append(&mut record(b"new")).expect("appends");
    assert_eq!(read_all(&disk), (vec![b"old".to_vec(), b"new".to_vec()], vec![]));
    assert!(disk.read(&Path::new(FOLDER).join("0000000001.log.tmp")).is_err(), "copies that were not finished go");
    assert!(disk.read(&Path::new(FOLDER).join("notes")).is_ok(), "other files stay");
    log.remove_before(2).expect("removes segments of earlier processes");
    assert_eq!(read_all(&disk).0, [b"new"]);
}

#[test]
fn a_full_disk_loses_nothing_and_records_follow_when_there_is_room() {
    for abandoned in [false, true] {
        let (disk, log) = small_log(1);
        log.append(&mut record(b"first")).expect("appends");
        disk.set_fault(Fault::Full { after_bytes: 20 });
        if abandoned {
            disk.set_fault(Fault::FailTruncate);
        }
        let mut large = record(&[1; 100]);
        let refused = log.append(&mut large).expect_err("does not fit");
        assert!(refused.to_string().contains("0000000001.log"), "{refused}");
        let LogError::Disk(refused) = refused else { panic!("the disk said so") };
        assert_eq!(refused.kind(), ErrorKind::StorageFull);
        assert!(log.append(&mut large).is_err());
        let before = log.written();
        disk.clear_faults();
        assert_eq!(log.append(&mut large).expect("there is room"), before + 116);
        log.sync().expect("flushes");
        disk.power_loss();
        let (found, damages) = read_all(&disk);
        assert_eq!(found, [b"first".to_vec(), vec![1; 100]]);
        let torn = Damage { segment: 1, offset: 53, bytes: 20, kind: DamageKind::Torn };
        assert_eq!(damages, if abandoned { vec![torn] } else { vec![] });
    }
}

#[test]
fn a_disk_without_room_or_rights_lets_a_log_open() {
    for fault in [Fault::Full { after_bytes: 0 }, Fault::Full { after_bytes: 31 }, Fault::ReadOnly] {
        let (disk, log) = small_log(1);
        log.append(&mut record(b"old")).expect("appends");
        disk.kill();
        disk.set_fault(fault);
        let log = reopen(&disk, 1000);
        assert!(log.append(&mut record(b"new")).is_err());
        assert!(log.rotate().is_err());
        assert_eq!(read_all(&disk).0, [b"old"]);
        disk.clear_faults();
        log.append(&mut record(b"new")).expect("appends");
        assert_eq!(read_all(&disk), (vec![b"old".to_vec(), b"new".to_vec()], vec![]));
    }
}

#[test]
fn after_a_failed_flush_the_segment_is_written_anew() {
    for seed in 0..50 {
        let (disk, log) = small_log(seed);
        log.append(&mut record(b"sure")).expect("appends");
        let sure = log.sync().expect("flushes");
        log.append(&mut record(b"unsure")).expect("appends");
        disk.set_fault(Fault::FailSync);
        log.sync().expect_err("the disk fails");
        assert_eq!(log.synced(), sure);
        log.append(&mut record(b"later")).expect("appends to another segment");
        assert_eq!(log.segment(), 2);
        log.sync().expect_err("the disk still fails");
        disk.clear_faults();
        assert_eq!(log.sync().expect("the disk works again"), log.written());
        disk.power_loss();
        assert_eq!(read_all(&disk), (vec![b"sure".to_vec(), b"unsure".to_vec(), b"later".to_vec()], vec![]));
    }
}

#[test]
fn what_is_appended_during_a_flush_waits_for_the_next() {
    for (seed, rotates, fails) in
        (0..40).flat_map(|s| [(s, false, false), (s, true, false), (s, false, true), (s, true, true)])
    {
        let (disk, log) = small_log(seed);
        let log = Arc::new(log);
        let first = log.append(&mut record(b"first")).expect("appends");
        let (other, later) = (Arc::clone(&log), record(&[2; 100]));
        disk.after_sync(move || {
            other.append(&mut later.clone()).expect("appends");
            if rotates {
                other.rotate().expect("rotates");
                other.append(&mut later.clone()).expect("appends");
            }
        });
        if fails {
            disk.set_fault(Fault::FailSync);
            log.sync().expect_err("the disk fails");
            disk.clear_faults();
        } else {
            assert_eq!(log.sync().expect("flushes"), first);
        }
        assert_eq!(log.synced(), if fails { 0 } else { first });
        assert_eq!(log.sync().expect("flushes the rest"), log.written());
        disk.power_loss();
        let mut expected = vec![b"first".to_vec(), vec![2; 100]];
        expected.extend(rotates.then(|| vec![2; 100]));
        assert_eq!(read_all(&disk), (expected, vec![]));
    }
}

#[test]
fn a_sync_includes_what_an_earlier_process_appended() {
    for seed in 0..50 {
        let (disk, log) = small_log(seed);
        log.append(&mut record(b"left behind")).expect("appends");
        disk.kill();
        let log = reopen(&disk, 1000);
        assert_eq!(log.sync().expect("flushes"), 0);
        disk.power_loss();
        assert_eq!(read_all(&disk).0, [b"left behind"]);
    }
    let (disk, _) = small_log(1);
    disk.kill();
    let log = reopen(&disk, 1000);
    disk.remove(&on_disk(&disk)[0].path).expect("removes");
    assert_eq!(log.sync().expect("what is gone needs no flush"), 0);
}

#[test]
fn what_cannot_be_written_anew_is_said_until_it_is_removed() {
    let (disk, log) = small_log(1);
    log.append(&mut record(b"unsure")).expect("appends");
    disk.set_fault(Fault::FailSync);
    log.sync().expect_err("the disk fails");
    disk.clear_faults();
    disk.damage(&on_disk(&disk)[0].path, |bytes| bytes[50] ^= 1).expect("is there");
    for _ in 0..2 {
        let lost = log.sync().expect_err("the record is gone");
        assert!(matches!(&lost, LogError::Lost { offset: 32, .. }), "{lost}");
        assert_eq!(log.synced(), 0);
    }
    let next = log.rotate().expect("rotates");
    log.append(&mut record(b"next")).expect("appends");
    log.remove_before(next).expect("removes");
    assert_eq!(log.sync().expect("nothing unsure is left"), log.written());
}

#[test]
fn a_newer_version_is_named() {
    let (disk, log) = small_log(1);
    log.append(&mut record(b"future")).expect("appends");
    let segment = on_disk(&disk).remove(0);
    let later = |bytes: &mut Vec<u8>| {
        bytes[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..28]);
        bytes[28..32].copy_from_slice(&checksum.to_le_bytes());
    };
    disk.damage(&segment.path, later).expect("is there");
    let newer = read(&disk, &segment).expect_err("is too new").to_string();
    assert!(newer.contains("0000000001.log has version 2") && newer.contains("versions up to 1"), "{newer}");
}

#[test]
fn records_of_another_segment_or_life_do_not_pass() {
    let (disk, log) = small_log(1);
    log.append(&mut record(b"one")).expect("appends");
    log.rotate().expect("rotates");
    log.append(&mut record(b"two")).expect("appends");
    let [first, second] = &on_disk(&disk)[..] else { panic!("two segments") };
    let other = disk.read(&second.path).expect("reads");
    // The file as it was before it was used again.
    disk.damage(&first.path, |bytes| bytes[SEGMENT_HEADER..].copy_from_slice(&other[SEGMENT_HEADER..]))
        .expect("is there");
    let torn = Damage { segment: 1, offset: 32, bytes: 19, kind: DamageKind::Torn };
    assert_eq!(read_segment(&disk, first), (vec![], vec![torn]));
    // The whole file under another name.
    disk.damage(&first.path, |bytes| bytes.copy_from_slice(&other)).expect("is there");
    assert_eq!(read_segment(&disk, first).0, Vec::<Vec<u8>>::new());
}

#[test]
fn a_frame_inside_a_payload_is_no_record() {
    let (disk, log) = small_log(1);
    log.append(&mut record(b"inner")).expect("appends");
    let inner = disk.read(&on_disk(&disk)[0].path).expect("reads");
    let outer = record(&inner[SEGMENT_HEADER..]);
    log.append(&mut outer.clone()).expect("appends");
    log.append(&mut record(b"last")).expect("appends");
    // Where the outer one begins.
    let damaged = inner.len();
    disk.damage(&on_disk(&disk)[0].path, |bytes| bytes[damaged] ^= 1).expect("is there");
    assert_eq!(read_all(&disk).0, [b"inner".to_vec(), b"last".to_vec()]);
}

#[test]
fn damage_is_kept_for_people() {
    let (disk, log) = small_log(1);
    for payload in [b"one", b"two", b"six"] {
        log.append(&mut record(payload)).expect("appends");
    }
    log.sync().expect("flushes");
    let segment = on_disk(&disk).remove(0);
    disk.damage(&segment.path, |bytes| bytes[60] ^= 0xff).expect("is there");
    let (found, damages) = read_segment(&disk, &segment);
    assert_eq!((found.len(), damages.len()), (2, 1));
    assert_eq!(damages[0].to_string(), "segment 1: 19 bytes from offset 51 are corrupt");
    let bytes = disk.read(&segment.path).expect("reads");
    let folder = Path::new("/data/quarantine");
    let first = quarantine(&disk, &segment, &damages, folder).expect("copies");
    let again = quarantine(&disk, &segment, &damages, folder).expect("copies");
    assert_eq!(first, again);
    let name = first[0].file_name().and_then(|name| name.to_str()).expect("UTF-8");
    assert!(name.starts_with("0000000001-0000000051-") && name.ends_with(".damaged"), "{name}");
    assert_eq!(disk.list(folder).expect("lists").len(), 1);
    disk.power_loss();
    assert_eq!(&*disk.read(&first[0]).expect("lasts"), &bytes[51..70]);

    let beyond = Damage { segment: 1, offset: 60, bytes: u64::MAX, kind: DamageKind::Torn };
    let clipped = quarantine(&disk, &segment, &[beyond], folder).expect("copies what there is");
    assert_eq!(&*disk.read(&clipped[0]).expect("reads"), &bytes[60..]);
}

#[test]
fn threads_share_a_log_on_a_real_disk() {
    const THREADS: u8 = 4;
    const RECORDS: u16 = 200;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = Log::create(Arc::new(RealDisk), folder.path(), Options { segment_bytes: 4000 }).expect("opens");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                let mut record = Record::new();
                for number in 0..RECORDS {
                    record.clear();
                    record.push(thread);
                    record.extend_from_slice(&number.to_le_bytes());
                    let position = log.append(&mut record).expect("appends");
                    if number % 50 == 0 {
                        assert!(log.sync().expect("flushes") >= position);
                        assert!(log.synced() >= position);
                    }
                }
            });
        }
    });
    let mut next = [0; THREADS as usize];
    let segments = segments(&RealDisk, folder.path()).expect("lists");
    assert!(segments.len() > 3);
    assert_eq!(segments.iter().map(|segment| segment.bytes).sum::<u64>(), log.bytes_on_disk());
    for segment in &segments {
        for payload in read(&RealDisk, segment).expect("opens").records() {
            let payload = payload.expect("is whole");
            let number = u16::from_le_bytes([payload[1], payload[2]]);
            assert_eq!(number, next[usize::from(payload[0])], "in order");
            next[usize::from(payload[0])] += 1;
        }
    }
    assert_eq!(next, [RECORDS; THREADS as usize]);
    log.remove_before(log.segment()).expect("removes");
    assert!(log.sync().is_ok());
}

proptest! {
    /// One wrong byte costs the record that it is in. In the header of the segment it costs none.
    #[test]
    fn a_wrong_byte_costs_one_record(
        lengths in proptest::collection::vec(1..300usize, 1..12), at in any::<prop::sample::Index>(), flip in 1..=255u8,
    ) {
        let disk = SimulatedDisk::new(1);
        let log = reopen(&disk, u64::MAX);
        let mut starts = vec![SEGMENT_HEADER];
        let payload = |number: usize| vec![number as u8; lengths[number]];
        for number in 0..lengths.len() {
            log.append(&mut record(&payload(number))).expect("appends");
            starts.push(starts[number] + FRAME_HEADER + lengths[number]);
        }
        let segment = on_disk(&disk).remove(0);
        let at = at.index(segment.bytes as usize);
        disk.damage(&segment.path, |bytes| bytes[at] ^= flip).expect("is there");
        let (found, damages) = read_segment(&disk, &segment);

        let hit = starts.partition_point(|start| *start <= at).checked_sub(1);
        let expected: Vec<_> = (0..lengths.len()).filter(|number| Some(*number) != hit).map(payload).collect();
        prop_assert_eq!(found, expected);
        let (from, to) = hit.map_or((0, SEGMENT_HEADER), |hit| (starts[hit], starts[hit + 1]));
        let kind = if to as u64 == segment.bytes { DamageKind::Torn } else { DamageKind::Corrupt };
        prop_assert_eq!(damages, [Damage { segment: 1, offset: from as u64, bytes: (to - from) as u64, kind }]);
    }
}

#[test]
fn one_segment_takes_records_or_says_that_it_does_not() {
    let (disk, log) = small_log(1);
    let first = log.segment();
    let a = log.append_to(first, &mut record(b"one")).expect("appends");
    let b = log.append_to(first, &mut record(&[7; 2000])).expect("appends beyond its length");
    assert_eq!((a.offset + a.bytes, b.position), (b.offset, a.bytes + b.bytes));
    let second = log.rotate().expect("rotates");
    assert!(matches!(log.append_to(first, &mut record(b"late")), Err(LogError::Moved(number)) if number == first));
    log.append_to(second, &mut record(b"two")).expect("appends");
    let third = log.rotate().expect("rotates");
    let reader = read(&disk, &on_disk(&disk)[0]).expect("opens");
    assert_eq!((reader.record_at(a.offset), reader.record_at(b.offset)), (Some(&b"one"[..]), Some(&[7; 2000][..])));
    assert_eq!((reader.record_at(a.offset + 1), reader.record_at(1 << 40)), (None, None));
    // Segments go one by one, and never the newest.
    log.remove(second).expect("removes");
    log.remove(third).expect("is left alone");
    assert_eq!(on_disk(&disk).iter().map(|s| s.number).collect::<Vec<_>>(), [first, third]);
}

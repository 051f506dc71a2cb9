//! Both disks against one contract, and what only the simulated one can show.

use std::io::ErrorKind;
use std::path::Path;

use proptest::prelude::*;

use crate::{Disk, Fault, RealDisk, SimulatedDisk, write_whole};

/// Runs a check on both disks, each in an empty folder.
fn on_both(check: impl Fn(&dyn Disk, &Path)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    check(&RealDisk, folder.path());
    let simulated = SimulatedDisk::new(1);
    let folder = Path::new("/data");
    simulated.create_folder(folder).expect("creates a folder");
    check(&simulated, folder);
}

fn names(disk: &dyn Disk, folder: &Path) -> Vec<(String, u64)> {
    let entries = disk.list(folder).expect("lists");
    entries.into_iter().map(|entry| (entry.name, entry.bytes)).collect()
}

fn kind<T>(result: std::io::Result<T>, path: &Path) -> ErrorKind {
    let error = result.err().expect("fails");
    assert!(error.to_string().contains(path.to_str().expect("UTF-8")), "{error} names {}", path.display());
    error.kind()
}

#[test]
fn files_grow_at_their_end_and_are_read_as_they_were() {
    on_both(|disk, folder| {
        let path = folder.join("a");
        let file = disk.create(&path).expect("creates");
        let empty = disk.read(&path).expect("reads an empty file");
        file.append(b"one").expect("appends");
        let one = disk.read(&path).expect("reads");
        file.append(b"two").expect("appends");
        assert_eq!((&*empty, &*one, &*disk.read(&path).expect("reads")), (&b""[..], &b"one"[..], &b"onetwo"[..]));

        file.truncate(4).expect("cuts");
        file.append(b"!").expect("appends behind the cut");
        file.sync().expect("flushes");
        let cut = disk.read(&path).expect("reads");
        disk.remove(&path).expect("removes");
        cut.release(0..cut.len());
        assert_eq!(&*cut, b"onet!", "what was read stays readable");
    });
}

#[test]
fn errors_have_kinds_and_name_paths() {
    on_both(|disk, folder| {
        let (path, missing) = (folder.join("a"), folder.join("missing"));
        drop(disk.create(&path).expect("creates"));
        assert_eq!(kind(disk.create(&path), &path), ErrorKind::AlreadyExists);
        assert_eq!(kind(disk.read(&missing), &missing), ErrorKind::NotFound);
        assert_eq!(kind(disk.remove(&missing), &missing), ErrorKind::NotFound);
        assert_eq!(kind(disk.sync_file(&missing), &missing), ErrorKind::NotFound);
        assert_eq!(kind(disk.rename(&missing, &path), &missing), ErrorKind::NotFound);
        assert_eq!(kind(disk.list(&missing), &missing), ErrorKind::NotFound);
        assert_eq!(kind(disk.sync_folder(&missing), &missing), ErrorKind::NotFound);
        assert_eq!(kind(disk.create_folder(&path), &path), ErrorKind::AlreadyExists);
        let inside = missing.join("b");
        assert_eq!(kind(disk.create(&inside), &missing), ErrorKind::NotFound);
    });
}

#[test]
fn folders_list_their_files_by_name() {
    on_both(|disk, folder| {
        let deep = folder.join("x/y");
        disk.create_folder(&deep).expect("creates parents too");
        disk.create_folder(&deep).expect("is there already");
        for name in ["b", "a", "x/c", "x/y/d"] {
            disk.create(&folder.join(name)).expect("creates").append(name.as_bytes()).expect("appends");
        }
        assert_eq!(names(disk, folder), [("a".to_owned(), 1), ("b".to_owned(), 1)]);
        assert_eq!(names(disk, &deep), [("d".to_owned(), 5)]);
        disk.rename(&folder.join("a"), &folder.join("b")).expect("replaces");
        assert_eq!(&*disk.read(&folder.join("b")).expect("reads"), b"a");
        assert_eq!(names(disk, folder), [("b".to_owned(), 1)]);
        disk.sync_file(&folder.join("b")).expect("flushes");
        disk.sync_folder(folder).expect("flushes");
    });
}

#[test]
fn a_lock_is_held_once_and_names_its_owner() {
    on_both(|disk, folder| {
        let path = folder.join("lock");
        let held = disk.lock(&path, "process 17 since noon").expect("locks");
        let refused = disk.lock(&path, "process 18").expect_err("is locked");
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        assert!(refused.to_string().contains("process 17 since noon"), "{refused}");
        drop(held);
        let _held = disk.lock(&path, "18").expect("is free again");
        let refused = disk.lock(&path, "process 19").expect_err("is locked");
        assert!(refused.to_string().ends_with("held by 18"), "{refused}");
    });
}

#[test]
fn whole_files_replace_whole_files() {
    on_both(|disk, folder| {
        let path = folder.join("meta");
        // A process died while it wrote.
        disk.create(&folder.join("meta.tmp")).expect("creates").append(b"half").expect("appends");
        for content in [&b"first"[..], b"2nd", b""] {
            write_whole(disk, &path, content).expect("writes");
            assert_eq!(&*disk.read(&path).expect("reads"), content);
        }
        assert_eq!(names(disk, folder), [("meta".to_owned(), 0)]);
    });
}

fn simulated(seed: u64) -> (SimulatedDisk, &'static Path) {
    let (disk, folder) = (SimulatedDisk::new(seed), Path::new("/data"));
    disk.create_folder(folder).expect("creates a folder");
    (disk, folder)
}

#[test]
fn a_full_disk_takes_a_part_and_has_room_again() {
    let (disk, folder) = simulated(1);
    let (old, new) = (folder.join("old"), folder.join("new"));
    disk.create(&old).expect("creates").append(&[0; 10]).expect("appends");
    let file = disk.create(&new).expect("creates");
    disk.set_fault(Fault::Full { after_bytes: 5 });
    file.append(b"abc").expect("fits");
    assert_eq!(kind(file.append(b"def"), &new), ErrorKind::StorageFull);
    assert_eq!(&*disk.read(&new).expect("reads"), b"abcde", "a part was written");
    assert_eq!(kind(disk.create(&folder.join("third")), &folder.join("third")), ErrorKind::StorageFull);
    file.truncate(3).expect("cuts");
    file.append(b"de").expect("fits where the cut made room");
    disk.remove(&old).expect("removes");
    file.append(&[1; 10]).expect("fits where the removal made room");
    assert_eq!(kind(file.append(b"x"), &new), ErrorKind::StorageFull);
    disk.clear_faults();
    file.append(b"x").expect("there is room");
}

#[test]
fn a_read_only_disk_is_read_only() {
    let (disk, folder) = simulated(1);
    let path = folder.join("a");
    let file = disk.create(&path).expect("creates");
    disk.set_fault(Fault::ReadOnly);
    let other = folder.join("b");
    for (result, path) in [
        (file.append(b"a"), &path),
        (file.truncate(0), &path),
        (disk.remove(&path), &path),
        (disk.rename(&path, &other), &path),
        (disk.create(&other).map(drop), &other),
        (disk.create_folder(&other), &other),
        (disk.lock(&other, "").map(drop), &other),
    ] {
        assert_eq!(kind(result, path), ErrorKind::ReadOnlyFilesystem);
    }
    disk.create_folder(folder).expect("is there already");
    assert_eq!(disk.read(&path).expect("reads").len(), 0);
    assert_eq!(names(&disk, folder), [("a".to_owned(), 0)]);
}

#[test]
fn a_failed_flush_proves_nothing_later() {
    let lost = (0..64).filter(|seed| {
        let (disk, folder) = simulated(*seed);
        let path = folder.join("a");
        let file = disk.create(&path).expect("creates");
        disk.sync_folder(folder).expect("flushes");
        file.append(b"sure").expect("appends");
        file.sync().expect("flushes");
        file.append(b"unsure").expect("appends");
        disk.set_fault(Fault::FailSync);
        assert_eq!(kind(file.sync(), &path), ErrorKind::Other);
        disk.clear_faults();
        file.sync().expect("says that all is well");
        disk.power_loss();
        let left = disk.read(&path).expect("reads");
        assert!(left.starts_with(b"sure"));
        &*left != b"sureunsure"
    });
    assert!(lost.count() > 10);
}

#[test]
fn what_was_opened_before_a_death_is_dead() {
    let (disk, folder) = simulated(1);
    let path = folder.join("a");
    let file = disk.create(&path).expect("creates");
    let lock = disk.lock(&folder.join("lock"), "first").expect("locks");
    file.append(b"kept").expect("appends");
    disk.kill();
    for result in [file.append(b"x"), file.sync(), file.truncate(0)] {
        assert_eq!(kind(result, &path), ErrorKind::Other);
    }
    assert_eq!(&*disk.read(&path).expect("reads"), b"kept");
    let second = disk.lock(&folder.join("lock"), "second").expect("a dead process holds nothing");
    drop(lock);
    assert!(disk.lock(&folder.join("lock"), "third").is_err(), "nor lets it go of what another one holds");
    drop(second);
}

#[test]
fn damage_is_seen_by_later_readers() {
    let (disk, folder) = simulated(1);
    let path = folder.join("a");
    write_whole(&disk, &path, b"abc").expect("writes");
    let before = disk.read(&path).expect("reads");
    disk.damage(&path, |bytes| bytes[1] ^= 1).expect("is there");
    assert_eq!((&*before, &*disk.read(&path).expect("reads")), (&b"abc"[..], &b"acc"[..]));
    disk.set_fault(Fault::FailRead);
    assert_eq!(kind(disk.read(&path), &path), ErrorKind::Other);
}

#[test]
fn what_a_dead_process_wrote_can_be_flushed() {
    for seed in 0..50 {
        let (disk, folder) = simulated(seed);
        let path = folder.join("a");
        disk.create(&path).expect("creates").append(b"left behind").expect("appends");
        disk.kill();
        disk.sync_file(&path).expect("flushes");
        disk.sync_folder(folder).expect("flushes");
        disk.power_loss();
        assert_eq!(&*disk.read(&path).expect("lasts"), b"left behind");
    }
}

/// What a power loss can do to names.
#[test]
fn renames_are_atomic_and_names_last_once_flushed() {
    let mut seen = [0; 3];
    for seed in 0..200 {
        let (disk, folder) = simulated(seed);
        let (old, new, sure) = (folder.join("old"), folder.join("new"), folder.join("sure"));
        write_whole(&disk, &new, b"first").expect("writes");
        write_whole(&disk, &sure, b"sure").expect("writes");
        let file = disk.create(&old).expect("creates");
        file.append(b"second").expect("appends");
        file.sync().expect("flushes");
        disk.rename(&old, &new).expect("renames");
        disk.power_loss();
        assert_eq!(&*disk.read(&sure).expect("is there"), b"sure");
        let replaced = &*disk.read(&new).expect("either is there") == b"second";
        assert!(replaced || &*disk.read(&new).expect("reads") == b"first");
        let left = disk.read(&old).is_ok();
        assert!(!(replaced && left), "one file, one name");
        seen[usize::from(replaced) + 2 * usize::from(left)] += 1;
    }
    assert!(seen.iter().all(|times| *times > 5), "every outcome happens: {seen:?}");
}

#[test]
fn a_rename_between_folders_lasts_when_either_is_flushed() {
    for (seed, flushed) in (0..100).flat_map(|seed| [(seed, "/data"), (seed, "/data/inner")]) {
        let (disk, folder) = simulated(seed);
        let inner = folder.join("inner");
        disk.create_folder(&inner).expect("creates");
        let (from, to) = (folder.join("a"), inner.join("b"));
        let file = disk.create(&from).expect("creates");
        file.append(b"moved").expect("appends");
        file.sync().expect("flushes");
        disk.rename(&from, &to).expect("renames");
        disk.sync_folder(Path::new(flushed)).expect("flushes");
        disk.power_loss();
        assert!(disk.read(&from).is_err());
        assert_eq!(&*disk.read(&to).expect("is there"), b"moved");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append(u8, Vec<u8>),
    Sync(u8),
    Remove(u8),
    SyncFolder,
}

fn step() -> impl Strategy<Value = Step> {
    let file = 0..3u8;
    prop_oneof![
        4 => (file.clone(), proptest::collection::vec(any::<u8>(), 1..200)).prop_map(|(f, b)| Step::Append(f, b)),
        2 => file.clone().prop_map(Step::Sync),
        1 => file.prop_map(Step::Remove),
        1 => Just(Step::SyncFolder),
    ]
}

proptest! {
    /// Whatever happens, what was flushed with its name is there after the loss, and a kill loses nothing.
    #[test]
    fn flushed_content_survives(seed in any::<u64>(), steps in proptest::collection::vec(step(), 1..40)) {
        let (disk, folder) = simulated(seed);
        let path = |file: u8| folder.join(file.to_string());
        let mut open = [None, None, None];
        let mut written: [Vec<u8>; 3] = Default::default();
        // What is flushed, and whether the name is.
        let mut flushed: [usize; 3] = [0; 3];
        let mut named = [false; 3];
        for step in steps {
            match step {
                Step::Append(f, bytes) => {
                    let at = usize::from(f);
                    if open[at].is_none() {
                        open[at] = Some(disk.create(&path(f)).expect("creates"));
                    }
                    open[at].as_ref().expect("was opened").append(&bytes).expect("appends");
                    written[at].extend(bytes);
                }
                Step::Sync(f) => if let Some(file) = &open[usize::from(f)] {
                    file.sync().expect("flushes");
                    flushed[usize::from(f)] = written[usize::from(f)].len();
                },
                Step::Remove(f) => if open[usize::from(f)].take().is_some() {
                    disk.remove(&path(f)).expect("removes");
                    (written[usize::from(f)], flushed[usize::from(f)], named[usize::from(f)]) = (Vec::new(), 0, false);
                },
                Step::SyncFolder => {
                    disk.sync_folder(folder).expect("flushes");
                    for at in 0..3 {
                        named[at] = open[at].is_some();
                    }
                }
            }
        }
        disk.kill();
        for f in (0..3u8).filter(|f| open[usize::from(*f)].is_some()) {
            prop_assert_eq!(&*disk.read(&path(f)).expect("reads"), &written[usize::from(f)][..]);
        }
        disk.power_loss();
        for f in (0..3u8).filter(|f| named[usize::from(*f)]) {
            let at = usize::from(f);
            let left = disk.read(&path(f)).expect("its name was flushed");
            prop_assert!(left.len() >= flushed[at] && left[..flushed[at]] == written[at][..flushed[at]]);
        }
    }
}

//! A block is there whole or not at all, whenever the power goes and whatever the disk refuses.

use std::io;
use std::sync::Mutex;

use disk::{Entry, Fault, FileBytes, Lock, OpenFile};

use super::*;

/// A disk of which nothing can be changed any more after so many changes.
#[derive(Debug, Clone)]
struct Countdown {
    disk: Arc<SimulatedDisk>,
    left: Arc<Mutex<usize>>,
}

impl Countdown {
    fn change<T>(&self, change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let mut left = self.left.lock().expect("not poisoned");
        *left = left.checked_sub(1).ok_or_else(|| io::Error::other("the power is gone"))?;
        change()
    }
}

#[derive(Debug)]
struct CountdownFile(Countdown, Arc<dyn OpenFile>);

impl OpenFile for CountdownFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.change(|| self.1.append(bytes))
    }
    fn sync(&self) -> io::Result<()> {
        self.0.change(|| self.1.sync())
    }
    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.change(|| self.1.truncate(bytes))
    }
}

impl Disk for Countdown {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>> {
        let file = self.change(|| self.disk.create(path))?;
        Ok(Arc::new(CountdownFile(self.clone(), file)))
    }
    fn read(&self, path: &Path) -> io::Result<FileBytes> {
        self.disk.read(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|| self.disk.rename(from, to))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|| self.disk.remove(path))
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(folder)
    }
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.change(|| self.disk.create_folder(path))
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.change(|| self.disk.sync_folder(folder))
    }
    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.change(|| self.disk.sync_file(path))
    }
    fn lock(&self, path: &Path, owner: &str) -> io::Result<Box<dyn Lock>> {
        self.disk.lock(path, owner)
    }
}

/// Large enough to be written in several parts: noise does not compress.
fn noisy() -> Content {
    let mut random = 7u64;
    let mut noise = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from_bits(random)
    };
    (0..100).map(|i| (series("noise", i), samples((0..2000).map(|t| (t * 15_000, noise()))))).collect()
}

fn named(disk: &SimulatedDisk, end: &str) -> Vec<PathBuf> {
    let files = disk.list(Path::new(FOLDER)).expect("lists");
    files.into_iter().filter(|f| f.name.ends_with(end)).map(|f| Path::new(FOLDER).join(f.name)).collect()
}

#[test]
fn a_power_loss_at_any_step_leaves_all_or_nothing() {
    let content = noisy();
    let mut outcomes = [0, 0];
    for step in 0.. {
        let disk = Arc::new(SimulatedDisk::new(step));
        disk.create_folder(Path::new(FOLDER)).expect("creates");
        let countdown = Countdown { disk: disk.clone(), left: Arc::new(Mutex::new(step as usize)) };
        let write = || {
            let mut writer = BlockWriter::create(Arc::new(countdown), Path::new(FOLDER), draft(0))?;
            content.iter().try_for_each(|(labels, samples)| writer.add(labels, samples))?;
            writer.finish()
        };
        let written = write();
        disk.power_loss();
        let blocks = named(&disk, ".block");
        for path in &blocks {
            let block = Block::open(disk.clone(), path).expect("is whole");
            assert_eq!(block.verify(), []);
            assert_eq!(block.meta().series, 100);
        }
        outcomes[usize::from(!blocks.is_empty())] += 1;
        if written.is_ok() {
            assert_eq!(blocks.len(), 1, "what was reported as written is there");
            break;
        }
    }
    assert!(outcomes[0] >= 4 && outcomes[1] >= 1, "{outcomes:?}");
}

#[test]
fn a_full_disk_is_an_error_that_leaves_nothing() {
    let content = noisy();
    let disk = new_disk();
    disk.set_fault(Fault::Full { after_bytes: 600_000 });
    let error = write(&disk, &content).expect_err("is full");
    assert_eq!(error.class(), ErrorClass::Io);
    assert!(matches!(&error, BlockError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull), "{error}");
    assert_eq!(disk.list(Path::new(FOLDER)).expect("lists"), []);
    disk.clear_faults();
    let meta = write(&disk, &content).expect("has room again");
    let block = Block::open(disk.clone(), &path_of(&meta)).expect("opens");
    disk.set_fault(Fault::Full { after_bytes: 3 });
    assert_eq!(block.delete(&[(0, TimeRange::ALL)]).expect_err("is full").class(), ErrorClass::Io);
    assert!(block.tombstones().is_empty(), "what could not be written is not deleted");
    assert_eq!(named(&disk, ".tombstones"), [] as [PathBuf; 0]);
}

#[test]
fn deletions_survive_a_power_loss_or_never_were() {
    let content: Content = (0..5).map(|i| (series("up", i), samples([(1, 1.0), (2, 2.0)]))).collect();
    for step in 0.. {
        let disk = Arc::new(SimulatedDisk::new(step));
        disk.create_folder(Path::new(FOLDER)).expect("creates");
        let meta = write(&disk, &content).expect("writes");
        let left = Arc::new(Mutex::new(usize::MAX));
        let countdown = Countdown { disk: disk.clone(), left: left.clone() };
        let block = Block::open(Arc::new(countdown), &path_of(&meta)).expect("opens");
        block.delete(&[(0, range(1, 1))]).expect("deletes");
        *left.lock().expect("not poisoned") = step as usize;
        let deleted = block.delete(&[(1, TimeRange::ALL)]);
        disk.power_loss();
        let block = Block::open(disk, &path_of(&meta)).expect("opens");
        assert_eq!(block.tombstones().of(0), [range(1, 1)], "an earlier deletion stays");
        if deleted.is_ok() {
            assert_eq!(block.tombstones().of(1), [TimeRange::ALL]);
            break;
        }
    }
}

//! The state on disk: three files that are replaced as a whole. `docs/formats/alert-snapshot.md` describes every byte.
//!
//! A file is written beside its predecessor, flushed and renamed, so that a crash leaves the one or the other. A file
//! whose checksum does not hold is renamed and named in the log; the router goes on without it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::TimestampMs;
use runtime::Stop;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::engine::alert::{AlertRecord, timestamp};
use crate::engine::dedup::LogEntry;
use crate::engine::silence::SilenceRecord;
use crate::engine::state::State;
use crate::metrics::RouterMetrics;
use crate::shared::Core;

const VERSION: u32 = 1;
/// A larger file was not written by us.
const MAX_FILE_BYTES: u64 = 2 << 30;
/// What was said, and silences, reach the disk within about this time.
const LOG_EVERY: Duration = Duration::from_secs(1);
/// Alerts change with every report; they are written every so many rounds.
const ALERTS_EVERY_ROUNDS: u64 = 15;
/// Expired records are dropped every so many rounds.
const GARBAGE_EVERY_ROUNDS: u64 = 30;

const LOG_FILE: &str = "notification-log.jsonl";
const SILENCES_FILE: &str = "silences.jsonl";
const ALERTS_FILE: &str = "alerts.jsonl";

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    #[serde(with = "timestamp")]
    saved_at: TimestampMs,
    /// Of everything after this line, in hexadecimal digits.
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct SavedAlert {
    alert: AlertRecord,
    settled: bool,
}

/// A storage folder that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the storage path {path}: {source}; check --storage.path and its rights")]
pub struct StorageError {
    path: PathBuf,
    source: io::Error,
}

/// The files of one router.
pub struct Snapshots {
    folder: PathBuf,
    core: Arc<Core>,
    metrics: Arc<RouterMetrics>,
    written: parking_lot::Mutex<Revisions>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Revisions {
    log: Option<u64>,
    silences: Option<u64>,
    alerts: Option<u64>,
}

impl Snapshots {
    /// Makes the folder and reads what is there into the state.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be used. A file that is merely corrupt is put aside.
    pub fn open(folder: &Path, core: Arc<Core>, metrics: Arc<RouterMetrics>) -> Result<Self, StorageError> {
        let unusable = |source| StorageError { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(unusable)?;
        let out = Self { folder: folder.to_owned(), core, metrics, written: parking_lot::Mutex::default() };
        out.load(runtime::now()).map_err(unusable)?;
        Ok(out)
    }

    fn load(&self, now: TimestampMs) -> io::Result<()> {
        let mut state = self.core.state.lock();
        let mut counts = [0; 3];
        if let Some((_, entries)) = self.read::<LogEntry>(LOG_FILE)? {
            counts[0] = entries.into_iter().filter(|e| state.log.merge(e.clone(), now)).count();
        }
        if let Some((_, silences)) = self.read::<SilenceRecord>(SILENCES_FILE)? {
            counts[1] = silences.into_iter().filter(|s| state.silences.merge(s.clone(), now)).count();
        }
        // Last: an alert makes a group, and what was said of it must be known by then.
        if let Some((header, alerts)) = self.read::<SavedAlert>(ALERTS_FILE)? {
            counts[2] = alerts.into_iter().filter_map(|a| restore(&mut state, a, header.saved_at, now).ok()).count();
        }
        drop(state);
        let [log, silences, alerts] = counts;
        tracing::info!(folder = %self.folder.display(), alerts, silences, log, "state loaded");
        Ok(())
    }

    /// Reads one file; `None` where it is not there, or was corrupt and is now put aside.
    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<(Header, Vec<T>)>> {
        let path = self.folder.join(name);
        let size = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let parsed =
            if size > MAX_FILE_BYTES { Err(format!("it has {size} bytes")) } else { parse(&fs::read(&path)?, name) };
        match parsed {
            Ok(content) => Ok(Some(content)),
            Err(reason) => {
                let aside = self.folder.join(format!("{name}.corrupt-{}", runtime::now()));
                fs::rename(&path, &aside)?;
                self.metrics.quarantined.inc();
                tracing::error!(
                    file = %path.display(), renamed_to = %aside.display(), reason,
                    "a snapshot is corrupt; going on without it, notifications may repeat"
                );
                Ok(None)
            }
        }
    }

    /// Writes what changed, until the stop is requested; [`Snapshots::save_all`] is for the end.
    pub async fn run(self: Arc<Self>, stop: Stop) {
        let mut round = 0u64;
        while stop.sleep(LOG_EVERY).await {
            round += 1;
            let this = self.clone();
            let work = move || {
                if round.is_multiple_of(GARBAGE_EVERY_ROUNDS) {
                    this.core.state.lock().collect_garbage(runtime::now());
                }
                this.save(round.is_multiple_of(ALERTS_EVERY_ROUNDS));
            };
            // A panic in there is one round lost; the next one tries again.
            if tokio::task::spawn_blocking(work).await.is_err() {
                self.metrics.snapshot_failures.inc();
            }
        }
    }

    /// Writes everything that changed.
    pub fn save_all(&self) {
        self.save(true);
    }

    fn save(&self, with_alerts: bool) {
        let mut written = self.written.lock();
        let (now, log, silences, alerts) = {
            let state = self.core.state.lock();
            let log = (written.log != Some(state.log.revision())).then(|| lines(state.log.iter()));
            let silences = (written.silences != Some(state.silences.revision())).then(|| lines(state.silences.iter()));
            let alerts = (with_alerts && written.alerts != Some(state.alerts.revision())).then(|| saved_alerts(&state));
            let revision = |changed: bool, revision: u64, before| if changed { Some(revision) } else { before };
            *written = Revisions {
                log: revision(log.is_some(), state.log.revision(), written.log),
                silences: revision(silences.is_some(), state.silences.revision(), written.silences),
                alerts: revision(alerts.is_some(), state.alerts.revision(), written.alerts),
            };
            (runtime::now(), log, silences, alerts.map(|a| lines(a.iter())))
        };
        for (name, body) in [(LOG_FILE, log), (SILENCES_FILE, silences), (ALERTS_FILE, alerts)] {
            let Some(body) = body else { continue };
            if let Err(error) = self.write(name, &body, now) {
                self.metrics.snapshot_failures.inc();
                tracing::error!(file = name, folder = %self.folder.display(), %error, "cannot write a snapshot; trying again");
                *written = Revisions::default();
            }
        }
    }

    fn write(&self, name: &str, body: &[u8], now: TimestampMs) -> io::Result<()> {
        let header = Header { format: name.to_owned(), version: VERSION, saved_at: now, sha256: checksum(body) };
        let path = self.folder.join(name);
        let fresh = self.folder.join(format!("{name}.tmp"));
        let mut file = File::create(&fresh)?;
        serde_json::to_writer(&mut file, &header)?;
        file.write_all(b"\n")?;
        file.write_all(body)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        // The rename itself must survive too.
        File::open(&self.folder)?.sync_all()
    }
}

fn saved_alerts(state: &State) -> Vec<SavedAlert> {
    let saved = |(fingerprint, record): (u64, &Arc<AlertRecord>)| SavedAlert {
        alert: AlertRecord::clone(record),
        settled: state.alerts.is_settled(fingerprint),
    };
    state.alerts.after(None).map(saved).collect()
}

fn lines<'a, T: Serialize + 'a>(records: impl Iterator<Item = &'a T>) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        // Records are plain data: writing one into memory cannot fail. One that did would be left out.
        let before = out.len();
        if serde_json::to_writer(&mut out, record).is_err() {
            out.truncate(before);
        } else {
            out.push(b'\n');
        }
    }
    out
}

fn checksum(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|b| format!("{b:02x}")).collect()
}

fn parse<T: DeserializeOwned>(bytes: &[u8], name: &str) -> Result<(Header, Vec<T>), String> {
    let end = bytes.iter().position(|b| *b == b'\n').ok_or("it has no header")?;
    let (head, body) = bytes.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let header: Header = serde_json::from_slice(head).map_err(|e| format!("its header is not readable: {e}"))?;
    if header.format != name || header.version != VERSION {
        return Err(format!("it is {} version {}", header.format, header.version));
    }
    if header.sha256 != checksum(body) {
        return Err("its checksum does not hold".to_owned());
    }
    let records = body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let records: Result<Vec<T>, _> = records.map(serde_json::from_slice).collect();
    Ok((header, records.map_err(|e| format!("a record is not readable: {e}"))?))
}

/// An alert that fired when the router went down fires until its sender had a chance to report it again: that nobody
/// could report it meanwhile does not resolve it.
fn restore(
    state: &mut State,
    saved: SavedAlert,
    saved_at: TimestampMs,
    now: TimestampMs,
) -> Result<(), crate::engine::state::Refused> {
    let SavedAlert { alert: mut record, settled } = saved;
    let grace_ms = i64::try_from(state.config.resolve_timeout.as_millis()).unwrap_or(i64::MAX);
    if !record.resolved_at(saved_at) && record.resolved_at(now + grace_ms) {
        record.ends_at = now + grace_ms;
        record.timeout = true;
    }
    if settled { state.restore_settled(record) } else { state.receive(record, now).map(|_| ()) }
}

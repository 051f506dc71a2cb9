//! Sessions of columns: which series the numbers of a sender are. A sender announces a series once and names it by
//! number afterwards.
//!
//! A session belongs to whom it was opened by: the same id from another source is another session. What all sessions
//! hold is bounded; the one that was not used for longest goes first, and its sender, told so, announces again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use columns::{Definitions, LabelsFault};
use model::{DecodeLabels, Labels, METRIC_NAME, RefusalReason};
use parking_lot::{Mutex, RwLock};
use sources::SourceName;

/// Sessions that are remembered, however small.
const MAX_SESSIONS: usize = 16_384;
/// What a session and one of its numbers take beside labels, roughly, in bytes.
const SESSION_BYTES: usize = 512;
const NUMBER_BYTES: usize = 48;

/// Who opened a session, and how that sender calls it.
type Key = (SourceName, u128);
type Numbers = hashbrown::HashMap<u32, Result<Labels, LabelsFault>, hashbrown::DefaultHashBuilder>;

/// All sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    table: Mutex<Table>,
    max_bytes: usize,
    /// How many were ever opened.
    opened: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<Key, Entry>,
    bytes: usize,
    /// How often sessions were looked for: the time by which they are old.
    uses: u64,
    evicted: u64,
}

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    bytes: usize,
    used: u64,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    /// No other session of this process has or had it: what a store remembers of one session's numbers means nothing in
    /// another one.
    serial: u64,
    numbers: RwLock<Numbers>,
}

/// The session, or a number in it, is not known (any more), or means something else now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unknown;

impl Sessions {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { table: Mutex::default(), max_bytes, opened: AtomicU64::new(0) }
    }

    /// The session of a request, with the series that it announces. Nothing is announced where a number of its rows is
    /// neither known nor announced.
    pub(crate) fn announce(
        &self,
        source: &SourceName,
        id: u128,
        definitions: Definitions<'_>,
        numbers: &[&[u32]],
    ) -> Result<Arc<Session>, Unknown> {
        let key = (source.clone(), id);
        let announced: Numbers = definitions.collect();
        let session = self.table.lock().find(&key);
        let is_new = session.is_none();
        let session = session.unwrap_or_else(|| Arc::new(self.begin()));
        let known = session.numbers.read();
        let runs = numbers.iter().flat_map(|numbers| numbers.chunk_by(|a, b| a == b));
        let is_known = runs
            .filter_map(|run| run.first())
            .all(|number| known.contains_key(number) || announced.contains_key(number));
        drop(known);
        if !is_known {
            return Err(Unknown);
        }
        if !announced.is_empty() || is_new {
            let grown = session.learn(announced);
            let mut table = self.table.lock();
            match grown {
                Ok(bytes) => table.keep(key, session.clone(), bytes, self.max_bytes)?,
                Err(Unknown) => {
                    table.remove(&key);
                    return Err(Unknown);
                }
            }
        }
        Ok(session)
    }

    fn begin(&self) -> Session {
        Session { serial: self.opened.fetch_add(1, Ordering::Relaxed), numbers: RwLock::default() }
    }

    /// How many there are, what they take in bytes, and how many had to go.
    pub(crate) fn usage(&self) -> (usize, usize, u64) {
        let table = self.table.lock();
        (table.sessions.len(), table.bytes, table.evicted)
    }
}

impl Table {
    fn find(&mut self, key: &Key) -> Option<Arc<Session>> {
        self.uses += 1;
        let entry = self.sessions.get_mut(key)?;
        entry.used = self.uses;
        Some(entry.session.clone())
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.sessions.remove(key) {
            self.bytes -= entry.bytes;
        }
    }

    /// Keeps a session that has grown, and lets others go for it. One that is too large alone goes itself. So does one
    /// that another request of the same session has opened meanwhile: which of them is kept does not matter.
    fn keep(&mut self, key: Key, session: Arc<Session>, grown: usize, max_bytes: usize) -> Result<(), Unknown> {
        let used = self.uses;
        let entry = self.sessions.entry(key.clone()).or_insert(Entry { session: session.clone(), bytes: 0, used });
        if !Arc::ptr_eq(&entry.session, &session) {
            return Ok(());
        }
        let grown = grown + if entry.bytes == 0 { SESSION_BYTES } else { 0 };
        entry.bytes += grown;
        self.bytes += grown;
        while self.bytes > max_bytes || self.sessions.len() > MAX_SESSIONS {
            let others = self.sessions.iter().filter(|(other, _)| **other != key);
            let oldest = others.min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            self.evicted += 1;
            match oldest {
                Some(oldest) => self.remove(&oldest),
                None => {
                    self.remove(&key);
                    return Err(Unknown);
                }
            }
        }
        Ok(())
    }
}

impl Session {
    /// Adds series; returns what they take, in bytes. A number that changes its meaning is a sender's mistake that ends the
    /// session: the store may remember what it meant before.
    fn learn(&self, announced: Numbers) -> Result<usize, Unknown> {
        let mut numbers = self.numbers.write();
        if announced.iter().any(|(number, labels)| numbers.get(number).is_some_and(|known| known != labels)) {
            return Err(Unknown);
        }
        let mut bytes = 0;
        for (number, labels) in announced {
            let of_labels = labels.as_ref().map_or(0, Labels::size_bytes);
            if numbers.insert(number, labels).is_none() {
                bytes += NUMBER_BYTES + of_labels;
            }
        }
        Ok(bytes)
    }
}

/// Reads numbers as series: within a session, with a stamp over what the sender claims.
pub(crate) struct NumberDecoder {
    session: Arc<Session>,
    stamp: Labels,
    context: Vec<u8>,
}

impl NumberDecoder {
    pub(crate) fn new(session: Arc<Session>, stamp: Labels) -> Self {
        let mut context = b"highwater.columns;".to_vec();
        context.extend_from_slice(&session.serial.to_le_bytes());
        context.extend_from_slice(stamp.as_bytes());
        Self { session, stamp, context }
    }

    /// What decides, beside a number, which series it is.
    pub(crate) fn context(&self) -> &[u8] {
        &self.context
    }

    /// The series of a number, or what is wrong with it in words for the sender.
    pub(crate) fn labels(&self, number: u32) -> Result<Labels, String> {
        match self.session.numbers.read().get(&number) {
            Some(Ok(labels)) if labels.get(METRIC_NAME).is_none() => Err(format!("series {labels} has no metric name")),
            Some(Ok(labels)) if self.stamp.is_empty() => Ok(labels.clone()),
            Some(Ok(labels)) => Ok(labels.with_overrides(&self.stamp)),
            Some(Err(fault)) => Err(format!("series number {number} {fault}")),
            None => Err(format!("series number {number} was not announced")),
        }
    }

    /// The same for a number as a store has it.
    pub(crate) fn explain(&self, encoded: &[u8]) -> Result<Labels, String> {
        let number = encoded.try_into().map(u32::from_le_bytes);
        self.labels(number.map_err(|_| "a series has no number".to_owned())?)
    }
}

impl DecodeLabels for NumberDecoder {
    fn decode(&self, encoded: &[u8]) -> Result<Labels, RefusalReason> {
        self.explain(encoded).map_err(|_| RefusalReason::InvalidLabels)
    }
}

//! `highwater tsdb`: what a store holds, looked at, checked, moved in and moved out.

mod analyze;
mod args;
mod dump;
mod export;
mod folder;
mod import;
mod imported;
mod known;
mod list;
mod select;
#[cfg(test)]
mod tests;
mod upload;
mod verify;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use disk::RealDisk;
use model::TimestampMs;
use runtime::{LogFormat, LogLevel, init_logging};
use tsdb::{Store, StoreOptions};

pub use args::TsdbCommand;
use folder::StoreFolder;

/// How long the log of a store may take to be read.
const REPLAY_WITHIN: Duration = Duration::from_secs(3600);
/// How often a store is opened again because its owner sealed meanwhile.
const ATTEMPTS: usize = 5;

/// Runs one command; what was asked for goes to standard output, everything else to standard error.
pub fn run(command: TsdbCommand) -> Result<()> {
    init_logging(LogLevel::Warn, LogFormat::Logfmt);
    match command {
        TsdbCommand::List(args) => list::run(&args),
        TsdbCommand::Analyze(args) => analyze::run(&args),
        TsdbCommand::Verify(args) => verify::run(&args),
        TsdbCommand::Import(args) => import::run(&args),
        TsdbCommand::Dump(args) => dump::run(&args, &*open_for_reading(&StoreFolder::find(&args.store.path)?)?),
        TsdbCommand::Export(args) => {
            let store = open_for_reading(&StoreFolder::find(&args.store.path)?)?;
            export::run(&args, &*store, store.statistics().bounds)
        }
    }
}

/// Opens a store without changing it: its blocks, and what its log holds. Beside a running owner that is everything that
/// was acknowledged before.
fn open_for_reading(folder: &StoreFolder) -> Result<Arc<Store>> {
    for _ in 0..ATTEMPTS {
        let before = folder.block_paths()?;
        let options = StoreOptions { read_only: true, retention: retention_of_everything(), ..StoreOptions::default() };
        let store = Store::open(Arc::new(RealDisk), folder.path(), options, Arc::new(now))?;
        if !store.wait_until_replayed(REPLAY_WITHIN) {
            bail!("reading the log of {} takes longer than an hour", folder.path().display());
        }
        // A seal moves samples from the log into a new block. Had one happened between the looks at the two, they would
        // be missing here.
        if folder.block_paths()? == before {
            return Ok(store);
        }
    }
    let owner = folder.owner().unwrap_or_else(|| "another process".to_owned());
    bail!("{} changes all the time ({owner} has it); try again later", folder.path().display());
}

/// What is stored must neither be left out nor removed for its age here: that is decided by the process that serves it.
fn retention_of_everything() -> Duration {
    Duration::from_secs(1000 * 365 * 24 * 3600)
}

/// The machine's clock.
fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Opens a store to write to it, alone.
fn open_for_writing(path: &std::path::Path) -> Result<Arc<Store>> {
    let mut options = StoreOptions {
        retention: retention_of_everything(),
        // What a server with a retention of 15 days would make of it.
        max_block_span: Some(Duration::from_secs(36 * 3600)),
        ..StoreOptions::default()
    };
    // Limits are for senders that may be out of order; what is imported was stored before.
    options.head.max_series = u32::MAX as usize;
    let store = Store::open(Arc::new(RealDisk), path, options, Arc::new(now)).context("cannot write to the store")?;
    if !store.wait_until_replayed(REPLAY_WITHIN) {
        bail!("reading the log of {} takes longer than an hour", path.display());
    }
    Ok(store)
}

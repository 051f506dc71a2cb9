//! The commands one after another, as somebody who moves would run them.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Parser;
use model::{Labels, SampleBuffer, TimestampMs, stale_nan};
use prometheus_block::{ExportOptions, ExportWriter, list_blocks};
use tempfile::TempDir;

use super::folder::StoreFolder;
use super::*;

/// The beginning of a window of two hours.
const START: i64 = 1_700_006_400_000;

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: TsdbCommand,
}

fn highwater(line: &str) -> Result<()> {
    run(Line::try_parse_from(["tsdb"].into_iter().chain(line.split(' ')))?.command)
}

/// Two blocks of two hours, as a Prometheus would have them.
fn prometheus(folder: &Path) {
    for window in 0..2 {
        let options = ExportOptions { created: TimestampMs(START), ..ExportOptions::default() };
        let mut writer = ExportWriter::create(folder, options).expect("begins");
        for pod in ["a", "b", "c"] {
            let mut samples = SampleBuffer::default();
            for minute in 0..120 {
                let value = if minute == 119 { stale_nan() } else { f64::from(minute) * 0.1 };
                samples.push(START + window * 7_200_000 + i64::from(minute) * 60_000, value);
            }
            writer.add(&Labels::from_pairs([("__name__", "m"), ("pod", pod)]), &samples).expect("is in order");
        }
        writer.finish().expect("completes");
    }
}

/// What the blocks of a folder hold, by hash.
fn content(folder: &Path) -> BTreeSet<String> {
    list_blocks(folder).expect("lists").into_iter().map(|(_, meta)| meta.ulid[10..].to_owned()).collect()
}

#[test]
fn what_moves_in_moves_out_the_same() {
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let (from, store, out, bucket) = (at("prometheus"), at("store"), at("out"), at("bucket"));
    prometheus(&from);
    let import = format!("import --from {} --storage.path {}", from.display(), store.display());
    let export = format!("export --storage.path {} --output {}", store.display(), out.display());
    for line in [&import, &import, &format!("{import} --again")] {
        highwater(line).expect("imports");
        highwater(&export).expect("exports");
        assert_eq!(content(&out), content(&from));
        assert_eq!(list_blocks(&out).expect("lists").len(), 2);
    }
    let upload =
        format!("{export} --match m{{pod=\"a\"}} --thanos-label region=eu --upload file://{}", bucket.display());
    for _ in 0..2 {
        highwater(&upload).expect("uploads");
        let blocks = list_blocks(&bucket).expect("lists");
        let found: Vec<_> = blocks.iter().map(|(_, m)| (m.stats.num_series, m.thanos.is_some())).collect();
        assert_eq!(found, [(1, true), (1, true)]);
    }
    for command in ["list", "list --json", "analyze", "verify", "dump --max-time 1700006400"] {
        highwater(&format!("{command} --storage.path {}", store.display())).expect(command);
    }
}

#[test]
fn damage_is_found_and_costs_only_itself() {
    let folder = TempDir::new().expect("a folder");
    let (from, store, out) = (folder.path().join("p"), folder.path().join("s"), folder.path().join("o"));
    prometheus(&from);
    highwater(&format!("import --from {} --storage.path {}", from.display(), store.display())).expect("imports");
    let block = StoreFolder::find(&store).expect("is there").block_paths().expect("lists").remove(0);
    let mut bytes = std::fs::read(&block).expect("reads");
    bytes[40] ^= 1;
    std::fs::write(&block, bytes).expect("writes");
    assert!(highwater(&format!("verify --storage.path {}", store.display())).is_err());
    let export = format!("export --storage.path {} --output {}", store.display(), out.display());
    assert!(highwater(&export).is_err());
    assert!(content(&out).is_subset(&content(&from)) && content(&out).len() == 1);
}

#[test]
fn a_store_that_somebody_has_is_read_but_not_written() {
    let folder = TempDir::new().expect("a folder");
    let (from, store) = (folder.path().join("p"), folder.path().join("s"));
    prometheus(&from);
    let import = format!("import --from {} --storage.path {}", from.display(), store.display());
    let owner = open_for_writing(&store).expect("opens");
    let error = highwater(&import).expect_err("is locked");
    assert!(format!("{error:#}").contains(&format!("pid {}", std::process::id())), "{error:#}");
    assert!(StoreFolder::find(&store).expect("is there").owner().is_some());
    highwater(&format!("verify --storage.path {}", store.display())).expect("is intact");
    owner.close().expect("closes");
    highwater(&import).expect("imports");
}

#[test]
fn a_folder_that_is_no_store_is_named() {
    let folder = TempDir::new().expect("a folder");
    for command in ["list", "analyze", "verify", "dump", "export --output o"] {
        let error = highwater(&format!("{command} --storage.path {}", folder.path().display())).expect_err(command);
        assert!(error.to_string().contains("holds no store"), "{error}");
    }
    let from = format!("import --from {0} --storage.path {0}/s", folder.path().display());
    assert!(highwater(&from).expect_err("is empty").to_string().contains("neither blocks nor"));
    assert!(!folder.path().join("s").exists());
}

//! The cascade's disk is full for a while. A limit on the size of files is as good as a full disk, and needs no root.

use std::process::Command;
use std::time::Duration;

use super::fleet::{Fleet, Plan, SINGLE, behind};
use crate::harness::{Process, until};

/// From the moment there is room again until samples are fresh.
const FRESH_WITHIN: Duration = Duration::from_secs(15);

/// No file of the process grows, or every one may.
fn limit_files(process: &Process, limit: &str) {
    let arguments = [format!("--pid={}", process.id()), format!("--fsize={limit}:")];
    let done = Command::new("prlimit").args(arguments).status();
    assert!(done.is_ok_and(|status| status.success()), "prlimit does not work");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_a_cascade_and_loses_nothing() {
    let _turn = super::turn().await;
    let fleet = Fleet::start(Plan::default()).await;
    for _ in 0..super::rounds() {
        limit_files(fleet.cascade.process(), "0");
        // It takes nothing that it cannot keep, so nothing new passes, and what it has can still be asked.
        until("the effect of a full disk", || async {
            let behind = behind(fleet.cascade.address(), SINGLE, 0).await?;
            if behind > 3.0 { Ok(()) } else { Err(format!("only {behind} s behind")) }
        })
        .await;
        limit_files(fleet.cascade.process(), "unlimited");
        let fresh = fleet.is_live(FRESH_WITHIN).await;
        let samples = fleet.is_whole().await;
        eprintln!("there is room again: fresh after {fresh:?}, {samples} samples are everywhere once");
    }
}

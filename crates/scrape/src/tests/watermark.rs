//! Scrapes are registered from before they are due until they are stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use model::{Append, AppendError, AppendReport, Batch};
use runtime::{Metrics, Supervisor};
use sources::Inputs;

use super::support::{Behaviour, FakeTarget, scrape_config, wait_for};
use crate::{ScrapeManager, ScrapeOptions};

/// Takes samples of which nobody was told that they had come already; counts others.
#[derive(Default)]
struct Witness {
    inputs: Inputs,
    batches: AtomicUsize,
    surprises: AtomicUsize,
}

impl Append for Witness {
    fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError> {
        let complete = self.inputs.watermark(runtime::now());
        let surprises = batch.rows.iter().filter(|row| row.sample.timestamp <= complete).count();
        self.surprises.fetch_add(surprises, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        Ok(AppendReport { appended: batch.rows.len(), ..AppendReport::default() })
    }
}

#[tokio::test]
async fn no_watermark_passes_a_scrape_that_is_not_stored() {
    let (quick, slow) =
        (FakeTarget::start(Behaviour::body("a 1\n")).await, FakeTarget::start(Behaviour::Hang(vec![])).await);
    let config = scrape_config(&format!(
        "{{job_name: j, scrape_interval: 50ms, scrape_timeout: 40ms, static_configs: [{{targets: ['{}', '{}']}}]}}",
        quick.address, slow.address
    ));
    let (witness, supervisor) = (Arc::new(Witness::default()), Supervisor::new());
    let options = ScrapeOptions { seed: 1, external_host: None, inputs: witness.inputs.clone() };
    let metrics = Metrics::new("test").expect("registers");
    let manager = ScrapeManager::start(vec![config], options, witness.clone(), &metrics, &supervisor).expect("starts");
    wait_for("some scrapes", || (witness.batches.load(Ordering::Relaxed) >= 20).then_some(())).await;
    assert_eq!(witness.inputs.registered(), 2, "each target has its next one registered, or the one under way");
    // The series of all targets end.
    manager.reload(Vec::new()).await.expect("reloads");
    assert_eq!(witness.surprises.load(Ordering::Relaxed), 0);
    assert_eq!(witness.inputs.registered(), 0);
    supervisor.stop(Duration::from_secs(10)).await;
}

//! What the HTTP API shows beside samples, taken from the blocks that know it.

use std::sync::Arc;

use evaluate::{Notifier, RuleManager};
use http_api::{
    ActiveTarget, Alertmanagers, Cardinality, DroppedTarget, RulesSource, RuntimeStatus, StatusSource, StoreError,
    StoreSource, TargetHealth, TargetsSource,
};
use model::{Matcher, TimeRange, TimestampMs};
use parking_lot::RwLock;
use rules::status::GroupStatus;
use scrape::{Health, ScrapeManager};
use tsdb::Store;

/// Targets of the scrape block.
pub(crate) struct ScrapedTargets(pub(crate) Arc<ScrapeManager>);

impl TargetsSource for ScrapedTargets {
    fn active(&self) -> Vec<ActiveTarget> {
        let shown = |t: scrape::TargetStatus| ActiveTarget {
            discovered_labels: t.discovered_labels,
            labels: t.labels,
            scrape_pool: t.scrape_pool,
            scrape_url: t.scrape_url,
            global_url: t.global_url,
            last_error: t.last_error,
            last_scrape: t.last_scrape,
            last_scrape_duration: t.last_scrape_duration,
            health: match t.health {
                Health::Unknown => TargetHealth::Unknown,
                Health::Up => TargetHealth::Up,
                Health::Down => TargetHealth::Down,
            },
            scrape_interval: t.scrape_interval,
            scrape_timeout: t.scrape_timeout,
        };
        self.0.targets().active.into_iter().map(shown).collect()
    }

    fn dropped(&self) -> Vec<DroppedTarget> {
        let shown = |t: scrape::DroppedTarget| DroppedTarget {
            discovered_labels: t.discovered_labels,
            scrape_pool: t.scrape_pool,
        };
        self.0.targets().dropped.into_iter().map(shown).collect()
    }
}

/// Rules and routers of the evaluate block.
pub(crate) struct EvaluatedRules {
    pub(crate) manager: RuleManager,
    pub(crate) notifier: Notifier,
}

impl RulesSource for EvaluatedRules {
    fn groups(&self) -> Vec<GroupStatus> {
        self.manager.status()
    }

    fn alertmanagers(&self) -> Alertmanagers {
        let evaluate::Alertmanagers { active, dropped } = self.notifier.alertmanagers();
        Alertmanagers { active, dropped }
    }
}

/// What is in force now; a reload changes it.
#[derive(Debug, Clone, Default)]
pub(crate) struct InForce {
    pub(crate) text: String,
    pub(crate) loaded: TimestampMs,
    pub(crate) reload_failed: bool,
    pub(crate) reloaded: Option<TimestampMs>,
}

/// The process and its store.
pub(crate) struct ProcessStatus {
    pub(crate) store: Arc<Store>,
    pub(crate) retention: String,
    pub(crate) flags: Vec<(String, String)>,
    pub(crate) in_force: Arc<RwLock<InForce>>,
}

impl StatusSource for ProcessStatus {
    fn config(&self) -> String {
        self.in_force.read().text.clone()
    }

    fn flags(&self) -> Vec<(String, String)> {
        self.flags.clone()
    }

    fn runtime(&self) -> RuntimeStatus {
        let in_force = self.in_force.read();
        RuntimeStatus {
            reload_succeeded: !in_force.reload_failed,
            reloaded: in_force.reloaded,
            config_loaded: Some(in_force.loaded),
            retention: self.retention.clone(),
            corruptions: self.store.statistics().corruptions,
        }
    }
}

/// The store as the API's operator sees it.
pub(crate) struct OperatedStore(pub(crate) Arc<Store>);

fn told(error: tsdb::StoreError) -> StoreError {
    StoreError(error.to_string())
}

impl StoreSource for OperatedStore {
    fn cardinality(&self, limit: usize) -> Cardinality {
        let (shape, statistics) = (self.0.cardinality(limit), self.0.statistics());
        // As Prometheus shows an empty head.
        let (min_time, max_time) = statistics.bounds.unwrap_or((TimestampMs::MAX, TimestampMs::MIN));
        Cardinality {
            series: shape.series,
            label_pairs: shape.label_pairs,
            chunks: statistics.head_series,
            min_time,
            max_time,
            series_by_metric: shape.series_by_metric,
            values_by_label: shape.values_by_label,
            bytes_by_label: shape.memory_by_label,
            series_by_pair: shape.series_by_pair,
        }
    }

    fn delete_series(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<(), StoreError> {
        self.0.delete_series(any_of, range).map_err(told)
    }

    fn clean_tombstones(&self) -> Result<(), StoreError> {
        self.0.clean_tombstones().map_err(told)
    }

    fn snapshot(&self, name: &str) -> Result<(), StoreError> {
        self.0.snapshot(&self.0.folder().join("snapshots").join(name)).map_err(told)
    }
}

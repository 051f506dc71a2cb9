//! What the endpoints and the comparisons have in common: the store, the plan in force, and one thread to read with.

use std::sync::Arc;
use std::time::Duration;

use model::{Append, Queryable, TimestampMs};
use parking_lot::RwLock;
use runtime::CpuPool;

use crate::cache::DigestCache;
use crate::config_section::PeersConfig;
use crate::error::PeerError;
use crate::metrics::PeerMetrics;
use crate::peer::Peer;
use crate::scope::{Own, Scope};
use crate::survey::{Span, Survey, Windows};
use crate::wire::Speaker;

/// Up to when everything has arrived, as far as this process knows.
pub type Watermark = Arc<dyn Fn() -> TimestampMs + Send + Sync>;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> TimestampMs + Send + Sync>;

/// What a comparer works with.
pub struct ComparerOptions {
    /// What is compared.
    pub storage: Arc<dyn Queryable>,
    /// Where samples go that were missing.
    pub sink: Arc<dyn Append>,
    /// The label that tells the sources of samples apart.
    pub source_label: String,
    /// Windows that end later than this are left alone.
    pub watermark: Watermark,
    /// The time.
    pub clock: Clock,
}

/// What is compared, until the next reload.
pub(crate) struct Plan {
    pub(crate) config: PeersConfig,
    pub(crate) scope: Arc<Scope>,
    pub(crate) window_ms: i64,
    fingerprint: String,
    cache: Arc<DigestCache>,
}

impl Plan {
    pub(crate) fn new(config: PeersConfig, source_label: &str, own: Own, before: Option<&Self>) -> Self {
        let scope = Arc::new(Scope::new(source_label, &config.matches, own));
        let (window_ms, fingerprint) = (whole_ms(config.window).max(1), scope.fingerprint());
        let same = before.filter(|before| before.window_ms == window_ms && before.fingerprint == fingerprint);
        let cache = same.map(|before| before.cache.clone()).unwrap_or_default();
        Self { config, scope, window_ms, fingerprint, cache }
    }
}

/// Milliseconds, as far as they can be counted.
pub(crate) fn whole_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) struct Shared {
    pub(crate) options: ComparerOptions,
    pub(crate) metrics: PeerMetrics,
    pub(crate) pool: CpuPool,
    pub(crate) plan: RwLock<Arc<Plan>>,
    pub(crate) peers: RwLock<Vec<Arc<Peer>>>,
    pub(crate) identity: String,
    /// When this process began: what it missed before lies in windows up to then.
    pub(crate) began: TimestampMs,
}

impl Shared {
    pub(crate) fn plan(&self) -> Arc<Plan> {
        self.plan.read().clone()
    }

    pub(crate) fn survey(&self, plan: &Plan) -> Survey {
        Survey { storage: self.options.storage.clone(), scope: plan.scope.clone() }
    }

    /// The settled windows that are compared now. Empty where there are none.
    pub(crate) fn compared(&self, plan: &Plan) -> Span {
        let now = (self.options.clock)();
        let settled = (now - whole_ms(plan.config.settle)).min((self.options.watermark)());
        let align = |at: i64| at - at.rem_euclid(plan.window_ms);
        let end_ms = align(settled.0.max(0));
        let oldest = (now - whole_ms(plan.config.history)).0.max(0);
        // The first window lies in the history with all of it.
        let start_ms = align(oldest.saturating_add(plan.window_ms - 1));
        Span { start_ms: start_ms.min(end_ms), end_ms }
    }

    pub(crate) fn speaker(&self, plan: &Plan) -> Speaker {
        Speaker {
            identity: self.identity.clone(),
            scope: plan.fingerprint.clone(),
            window_ms: plan.window_ms,
            settled_until_ms: self.compared(plan).end_ms,
        }
    }

    /// Runs on the pool what reads the store.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        plan: &Plan,
        work: impl FnOnce(&Survey) -> T + Send + 'static,
    ) -> Result<T, PeerError> {
        let survey = self.survey(plan);
        Ok(self.pool.run(move || work(&survey)).await?)
    }

    /// The digests of the windows of a span, oldest first.
    pub(crate) async fn windows(&self, plan: &Plan, span: Span) -> Result<Windows, PeerError> {
        let (cache, window_ms) = (plan.cache.clone(), plan.window_ms);
        cache.forget_before(self.compared(plan).start_ms);
        let (windows, read) = self.read(plan, move |survey| cache.windows(survey, span, window_ms)).await??;
        self.metrics.digested.inc_by(read);
        Ok(windows)
    }
}

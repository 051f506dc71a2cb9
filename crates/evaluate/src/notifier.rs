//! Alerts on their way out: external labels, relabelling, one queue for each router.

use std::sync::Arc;

use model::{Labels, LabelsBuilder};
use parking_lot::{Mutex, RwLock};
use relabel::RelabelRule;
use reqwest::Url;
use rules::AlertToSend;
use runtime::{HttpClient, HttpClientError, Metrics, MetricsError, Supervisor};

use crate::endpoints::AlertmanagerSet;
use crate::metrics::NotifierMetrics;
use crate::queue::{CAPACITY, Endpoint};
use crate::wire::{self, WireAlert};
use crate::{AlertingConfig, Alertmanagers};

/// Why alerts cannot be sent as configured.
#[derive(Debug, thiserror::Error)]
pub enum NotifierError {
    /// A certificate or key.
    #[error("alerting: {0}")]
    Client(#[from] HttpClientError),
    /// Started twice on one registry.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

/// Sends alerts to every alert router. Cheap to clone.
#[derive(Clone)]
pub struct Notifier {
    inner: Arc<Inner>,
}

struct Inner {
    supervisor: Supervisor,
    metrics: NotifierMetrics,
    current: RwLock<Current>,
    /// One reload at a time.
    reloading: Mutex<()>,
}

#[derive(Default)]
struct Current {
    external_labels: Labels,
    config: AlertingConfig,
    /// One for each set of the configuration, in its order.
    sets: Vec<Vec<Arc<Endpoint>>>,
}

impl Notifier {
    /// Starts a sender for every router. Start it before the rules, so that it stops after them and still sends what
    /// they left.
    ///
    /// # Errors
    /// When a client cannot be built or the metrics exist already.
    pub fn start(
        supervisor: &Supervisor,
        metrics: &Metrics,
        external_labels: Labels,
        config: AlertingConfig,
    ) -> Result<Self, NotifierError> {
        let metrics = NotifierMetrics::new(metrics)?;
        metrics.queue_capacity.set(i64::try_from(CAPACITY).unwrap_or(i64::MAX));
        let inner =
            Inner { supervisor: supervisor.group(), metrics, current: RwLock::default(), reloading: Mutex::default() };
        let notifier = Self { inner: Arc::new(inner) };
        notifier.update(external_labels, config)?;
        Ok(notifier)
    }

    /// Takes a new configuration. Routers whose settings did not change keep their queue.
    ///
    /// # Errors
    /// When a client cannot be built; the old configuration stays in force.
    pub fn update(&self, external_labels: Labels, config: AlertingConfig) -> Result<(), NotifierError> {
        let _one_at_a_time = self.inner.reloading.lock();
        let clients: Vec<HttpClient> = config.sets.iter().map(|set| set.client.build()).collect::<Result<_, _>>()?;
        let mut old: Vec<(AlertmanagerSet, Arc<Endpoint>)> = {
            let current = self.inner.current.read();
            let pairs = current.config.sets.iter().zip(&current.sets);
            pairs.flat_map(|(set, endpoints)| endpoints.iter().map(|e| (set.clone(), e.clone()))).collect()
        };
        let mut sets = Vec::new();
        for (set, client) in config.sets.iter().zip(clients) {
            let mut endpoints = Vec::new();
            for url in &set.active {
                let same = |(was, e): &(AlertmanagerSet, Arc<Endpoint>)| e.url == *url && reached_alike(was, set);
                endpoints.push(match old.iter().position(same) {
                    Some(at) => old.swap_remove(at).1,
                    None => self.begin(set, url, client.clone()),
                });
            }
            sets.push(endpoints);
        }
        let known: Vec<Url> = sets.iter().flatten().map(|e| e.url.clone()).collect();
        self.inner.metrics.discovered.set(known.len() as f64);
        *self.inner.current.write() = Current { external_labels, config, sets };
        for (_, endpoint) in old {
            endpoint.remove();
            if !known.contains(&endpoint.url) {
                self.inner.metrics.remove(endpoint.url.as_str());
            }
        }
        Ok(())
    }

    fn begin(&self, set: &AlertmanagerSet, url: &Url, client: HttpClient) -> Arc<Endpoint> {
        let metrics = self.inner.metrics.of(url.as_str());
        let endpoint = Arc::new(Endpoint::new(url.clone(), set.timeout, client, metrics));
        let running = endpoint.clone();
        self.inner.supervisor.spawn(format!("alerts to {url}"), move |stop| async move { running.run(stop).await });
        endpoint
    }

    /// Hands alerts to every router's queue. Never blocks.
    pub fn send(&self, alerts: &[AlertToSend]) {
        let current = self.inner.current.read();
        let mut labelled = Vec::with_capacity(alerts.len());
        for alert in alerts {
            let mut labels = LabelsBuilder::from_labels(&alert.labels);
            for (name, value) in current.external_labels.iter() {
                labels.set_default(name, value);
            }
            if relabel::apply(&current.config.relabel, &mut labels) {
                labelled.push((alert, labels));
            }
        }
        for (set, endpoints) in current.config.sets.iter().zip(&current.sets) {
            let encoded = encode(&labelled, &set.relabel);
            for endpoint in endpoints {
                endpoint.push(encoded.iter().cloned());
            }
        }
    }

    /// Who alerts are sent to, and who not.
    pub fn alertmanagers(&self) -> Alertmanagers {
        self.inner.current.read().config.alertmanagers()
    }
}

/// Whether an endpoint of one set can go on as one of the other: targets and relabelling do not concern it.
fn reached_alike(a: &AlertmanagerSet, b: &AlertmanagerSet) -> bool {
    a.timeout == b.timeout && a.client == b.client
}

fn encode(alerts: &[(&AlertToSend, LabelsBuilder)], rules: &[RelabelRule]) -> Vec<WireAlert> {
    let one = |(alert, labels): &(&AlertToSend, LabelsBuilder)| {
        let mut labels = labels.clone();
        relabel::apply(rules, &mut labels).then(|| wire::encode(alert, &labels.build())).flatten()
    };
    alerts.iter().filter_map(one).collect()
}

//! Reading the configuration again: validate all of it, then apply it part by part.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use evaluate::{Notifier, RuleManager};
use forward::Forwarder;
use model::Labels;
use parking_lot::RwLock;
use peers::Comparer;
use receive::Stamp;
use replicas::ReplicasOptions;
use rules::External;
use runtime::Reload;
use scrape::ScrapeManager;
use tsdb::Store;

use crate::Settings;
use crate::queries::Queries;
use crate::settings::StorageSettings;
use crate::sources::InForce;

/// The parts of a tier that a new configuration reaches.
pub(crate) struct Reloader {
    pub(crate) config_file: Option<PathBuf>,
    pub(crate) queries: Queries,
    pub(crate) external_labels: Arc<RwLock<Labels>>,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) replicas: ReplicasOptions,
    pub(crate) forwarder: Option<Arc<Forwarder>>,
    pub(crate) rules: Option<(RuleManager, Notifier)>,
    pub(crate) external_url: String,
    pub(crate) scrape: Option<Arc<ScrapeManager>>,
    pub(crate) comparer: Option<Comparer>,
    pub(crate) store: Arc<Store>,
    /// What the file said of storage when the store was opened.
    pub(crate) storage: StorageSettings,
    pub(crate) in_force: Arc<RwLock<InForce>>,
}

impl Reload for Reloader {
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async {
            let result = self.apply().await;
            let mut in_force = self.in_force.write();
            in_force.reload_failed = result.is_err();
            in_force.reloaded = Some(runtime::now());
            if let Ok(text) = &result {
                in_force.text.clone_from(text);
                in_force.loaded = runtime::now();
            }
            result.map(|_| ())
        })
    }
}

impl Reloader {
    async fn apply(&self) -> Result<String, String> {
        let Some(path) = &self.config_file else {
            tracing::info!("started without --config.file, so there is nothing to reload");
            return Ok(String::new());
        };
        let (path, engine) = (path.clone(), self.queries.engine.clone());
        // Files are read and rules are planned: not for a thread that others wait for.
        let loading = tokio::task::spawn_blocking(move || Settings::load(&path, &engine));
        let loaded = loading.await.map_err(|_| "reading the configuration panicked; look into the log".to_owned())?;
        let settings = loaded.map_err(|problems| problems.to_string())?;
        for warning in &settings.warnings {
            tracing::warn!(warning, "the configuration may not mean what it says");
        }
        if settings.storage.retention() != self.storage.retention() {
            tracing::warn!("storage.tsdb.retention has changed, which takes effect when the process is started again");
        }
        self.queries.log_to(settings.global.query_log_file.as_deref())?;
        let own = settings.own();
        let labels = settings.global.external_labels;
        // From here on nothing is expected to fail: clients were built once already while their sections were decoded.
        if let Some(forwarder) = &self.forwarder {
            forwarder.update(&settings.remote_write, &labels).map_err(|e| e.to_string())?;
        }
        if let Some((_, notifier)) = &self.rules {
            notifier.update(labels.clone(), settings.alerting).map_err(|e| e.to_string())?;
        }
        if let Some(comparer) = &self.comparer {
            comparer.update(settings.peers, own).map_err(|e| e.to_string())?;
        }
        if let Some(scrape) = &self.scrape {
            scrape.reload(settings.scrape).await.map_err(|e| e.to_string())?;
        }
        if let Some((manager, _)) = &self.rules {
            let external = External { labels: labels.clone(), url: self.external_url.clone() };
            manager.update(external, settings.groups).await;
        }
        if let Some(stamp) = &self.stamp {
            stamp.set(self.replicas.shared(&labels));
        }
        self.store.set_max_exemplars(settings.storage.max_exemplars());
        *self.external_labels.write() = labels;
        Ok(settings.text)
    }
}

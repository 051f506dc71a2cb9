//! Running a role until it is asked to stop.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use model::format_duration;
use runtime::{init_logging, run_until_stopped};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tier::{App, CorsOrigins, Options, Role};

use crate::cli::{AlertsArgs, TierArgs};
use crate::storage;

/// How long a process may take to end: HTTP, scrapes, then the queues that they fed.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// Runs an edge, a cascade or a central.
pub fn run_tier<R: Role>(listen_address: String, args: TierArgs) -> Result<()> {
    init_logging(args.log.level, args.log.format);
    let options = tier_options::<R>(listen_address, args)?;
    block_on(async {
        let mut app = App::<R>::build(options).await?;
        app.start()?;
        let lifecycle = app.tier().lifecycle().ok_or_else(|| anyhow!("internal error: started without a lifecycle"))?;
        let asked = run_until_stopped(lifecycle).await;
        app.stop(STOP_WITHIN).await;
        asked.context("cannot listen for signals")
    })
}

/// Runs an alert router.
pub fn run_alerts(args: AlertsArgs) -> Result<()> {
    init_logging(args.log.level, args.log.format);
    block_on(async {
        let mut app = alerts::App::build(alerts::Options {
            config_file: Some(args.config_file),
            storage_path: args.storage_path,
            listen_address: args.listen_address,
            external_url: args.external_url,
            cluster_listen_address: Some(args.cluster_listen_address).filter(|a| !a.is_empty()),
            cluster_peers: args.cluster_peers,
            cluster_peer_timeout: args.cluster_peer_timeout,
        })
        .await?;
        app.start();
        let asked = run_until_stopped(&app.lifecycle()).await;
        app.stop(STOP_WITHIN).await;
        asked.context("cannot listen for signals")
    })
}

fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let result = runtime.block_on(work);
    // Everything that holds samples has ended. A query that still computes must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(2));
    result
}

/// Blocks, segments and connections are files by the thousand, and the soft limit of a shell or a unit is 1024 mostly.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, limit = limit.current, "cannot raise the limit of open files; raise it with ulimit -n");
    }
}

fn tier_options<R: Role>(listen_address: String, args: TierArgs) -> Result<Options> {
    let storage_path = args.storage.folder(R::NAME);
    let store = args.storage.options(R::SOURCE_LABEL)?;
    let mut flags = vec![
        ("config.file", args.config_file.as_ref().map(|p| p.display().to_string()).unwrap_or_default()),
        ("web.listen-address", listen_address.clone()),
        ("web.external-url", args.external_url.clone().unwrap_or_default()),
        ("web.max-connections", args.max_connections.to_string()),
        ("web.enable-admin-api", args.enable_admin.to_string()),
        ("web.enable-lifecycle", args.enable_lifecycle.to_string()),
        ("web.cors.origin", args.cors_origin.clone()),
        ("storage.path", storage_path.display().to_string()),
        ("query.timeout", format_duration(args.query_timeout)),
        ("query.max-concurrency", args.query_concurrency.to_string()),
        ("query.result-cache-bytes", args.query_result_cache.to_string()),
        ("query.lookback-delta", format_duration(args.query_lookback)),
        ("enable-feature", args.features.names.join(",")),
        ("log.level", args.log.level.to_string()),
        ("log.format", args.log.format.to_string()),
    ];
    flags.extend(args.query_limits.shown());
    flags.extend(storage::shown(&store));
    flags.extend(args.remote_read.shown());
    flags.extend(args.delivery.shown());
    let query_syntax = args.features.syntax(|name| tracing::warn!(name, "there is no such feature"));
    Ok(Options {
        config_file: args.config_file,
        listen_address,
        external_url: args.external_url,
        max_connections: args.max_connections,
        enable_admin: args.enable_admin,
        enable_lifecycle: args.enable_lifecycle,
        cors_origins: CorsOrigins::parse(&args.cors_origin).context("--web.cors.origin")?,
        storage_path,
        store,
        receiver: args.delivery.receiver(),
        replicas: args.delivery.replicas(),
        sources: args.delivery.sources(),
        max_watermark_wait: args.delivery.max_watermark_wait,
        query_timeout: args.query_timeout,
        query_concurrency: args.query_concurrency,
        query_max_samples: args.query_limits.max_samples,
        query_max_memory: args.query_limits.max_memory(),
        query_max_memory_total: args.query_limits.max_memory_total(),
        query_max_series: args.query_limits.max_series,
        query_max_points: args.query_limits.max_points,
        query_log_slower_than: args.query_limits.log_slower_than,
        query_result_cache_bytes: args.query_result_cache,
        query_lookback: args.query_lookback,
        query_syntax,
        remote_read: args.remote_read.limits(),
        flags: flags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    })
}

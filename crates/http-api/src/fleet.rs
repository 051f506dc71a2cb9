//! `fleet/sources`: who sends to this tier and how complete that is; and what a query says of those that lag.

use ::sources::{Backlog, Behind, DirectStatus, Gap, SourceState, SourceStatus};
use axum::extract::State;
use axum::http::StatusCode;
use model::{Labels, TimestampMs};
use serde::Serialize;

use crate::answer::{Answer, MAX_REMARKS, json_response};
use crate::api::{Answered, Shared};
use crate::error::ApiError;
use crate::numbers;
use crate::params::Params;
use crate::query::TRUNCATED;
use crate::sources::FleetSource;
use crate::time::rfc3339;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fleet {
    /// The tier's own.
    watermark: String,
    counts: Counts,
    sources: Vec<ShownSource>,
}

#[derive(Serialize, Default)]
struct Counts {
    live: usize,
    behind: usize,
    gone: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownSource {
    source: String,
    tier: String,
    name: String,
    replica: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    labels: Labels,
    state: &'static str,
    watermark: Option<String>,
    watermark_estimated: bool,
    lag_seconds: Option<f64>,
    /// What a source dropped that is known only from what another says; of others it stands under `delivery`.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    gaps: Option<ShownGaps>,
    /// Not there for a source that is known only from what another says: that one sends, this one does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<Delivery>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Delivery {
    address: String,
    first_seen: String,
    last_seen: String,
    lane: &'static str,
    backlog: ShownBacklog,
    #[serde(flatten)]
    gaps: ShownGaps,
    samples: u64,
    bytes: u64,
    samples_per_second: f64,
    bytes_per_second: f64,
    version: String,
    behind: Vec<ShownBehind>,
}

#[derive(Serialize)]
struct ShownBacklog {
    samples: u64,
    oldest: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownGaps {
    gaps: Vec<ShownGap>,
    gap_samples: u64,
}

#[derive(Serialize)]
struct ShownGap {
    from: String,
    to: String,
    samples: u64,
}

#[derive(Serialize)]
struct ShownBehind {
    source: String,
    watermark: String,
}

/// Which sources the caller wants.
struct Filter {
    tier: String,
    behind: bool,
    limit: Option<usize>,
}

impl Filter {
    fn of(params: &Params) -> Result<Self, ApiError> {
        let behind = match params.get("behind") {
            "" => false,
            text => numbers::boolean(text).map_err(|error| ApiError::parameter("behind", error))?,
        };
        Ok(Self { tier: params.get("tier").to_owned(), behind, limit: params.limit()? })
    }

    fn admits(&self, source: &SourceStatus) -> bool {
        let is_behind = source.state != SourceState::Live;
        (self.tier.is_empty() || source.source.tier() == self.tier) && (is_behind || !self.behind)
    }
}

pub(crate) async fn sources(State(api): Shared, params: Params) -> Answered {
    let filter = Filter::of(&params)?;
    let known = api.options.fleet.sources();
    let mut counts = Counts::default();
    for source in known.iter().filter(|source| source.via.is_none()) {
        match source.state {
            SourceState::Live => counts.live += 1,
            SourceState::Behind => counts.behind += 1,
            SourceState::Gone => counts.gone += 1,
        }
    }
    let mut wanted = known.into_iter().filter(|source| filter.admits(source));
    let sources = wanted.by_ref().take(filter.limit.unwrap_or(usize::MAX)).map(shown).collect();
    let warnings: &[String] = if wanted.next().is_some() { &[TRUNCATED.to_owned()] } else { &[] };
    let answer = Fleet { watermark: rfc3339(api.options.fleet.watermark()), counts, sources };
    Ok(json_response(StatusCode::OK, Answer::of_with(&answer, warnings)?))
}

fn shown(status: SourceStatus) -> ShownSource {
    let SourceStatus { source, via, labels, state, watermark, is_estimated, lag_ms, gaps, gap_samples, direct } =
        status;
    let gap = |gap: Gap| ShownGap { from: rfc3339(gap.from), to: rfc3339(gap.to), samples: gap.samples };
    let gaps = ShownGaps { gaps: gaps.into_iter().map(gap).collect(), gap_samples };
    let (gaps, delivery) = match direct {
        Some(direct) => (None, Some(shown_delivery(direct, gaps))),
        None => (Some(gaps), None),
    };
    ShownSource {
        tier: source.tier().to_owned(),
        name: source.name().to_owned(),
        replica: source.replica().to_owned(),
        source: source.to_string(),
        via: via.map(|via| via.to_string()),
        labels,
        state: state.as_str(),
        watermark: watermark.map(rfc3339),
        watermark_estimated: is_estimated,
        lag_seconds: lag_ms.map(|lag_ms| lag_ms as f64 / 1000.0),
        gaps,
        delivery,
    }
}

fn shown_delivery(direct: DirectStatus, gaps: ShownGaps) -> Delivery {
    let Backlog { samples, oldest } = direct.backlog;
    let behind = |b: Behind| ShownBehind { source: b.source.to_string(), watermark: rfc3339(b.watermark) };
    Delivery {
        address: direct.address.to_string(),
        first_seen: rfc3339(direct.first_seen),
        last_seen: rfc3339(direct.last_seen),
        lane: direct.lane.as_str(),
        backlog: ShownBacklog { samples, oldest: oldest.map(rfc3339) },
        gaps,
        samples: direct.samples,
        bytes: direct.bytes,
        samples_per_second: direct.samples_per_second,
        bytes_per_second: direct.bytes_per_second,
        version: direct.version,
        behind: direct.behind.into_iter().map(behind).collect(),
    }
}

/// What a query that ends at `end` says of sources that are not complete up to then; the rest is counted.
pub(crate) fn infos(fleet: &dyn FleetSource, end: TimestampMs) -> Vec<String> {
    let incomplete = fleet.incomplete(end);
    let say = |(behind, via): &(Behind, Option<::sources::SourceName>)| {
        let below = via.as_ref().map(|via| format!(" below {via}")).unwrap_or_default();
        format!("source {}{below} is behind: complete up to {}", behind.source, rfc3339(behind.watermark))
    };
    let mut infos: Vec<String> = incomplete.iter().take(MAX_REMARKS).map(say).collect();
    if incomplete.len() > MAX_REMARKS {
        infos.truncate(MAX_REMARKS - 1);
        infos.push(format!(
            "{} more sources are behind: see /api/v1/fleet/sources?behind=true",
            incomplete.len() + 1 - MAX_REMARKS
        ));
    }
    infos
}

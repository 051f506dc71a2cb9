//! `admin/tsdb/{delete_series,clean_tombstones,snapshot}` and `admin/fleet/forget_source`: what changes the store and what is
//! remembered, where the operator allowed it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use ::sources::SourceName;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::{TimeRange, TimestampMs};
use serde::Serialize;

use crate::answer::{Answer, json_response};
use crate::api::{Answered, Api, LONGEST_TIMEOUT, Shared};
use crate::error::{ApiError, ErrorKind};
use crate::numbers;
use crate::params::Params;
use crate::sources::StoreSource;
use crate::time::{MAX_TIME, MIN_TIME, rfc3339};

pub(crate) async fn delete_series(State(api): Shared, params: Params) -> Answered {
    api.allow_admin()?;
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    api.change(move |store| {
        let range = TimeRange { start: params.time("start", MIN_TIME)?, end: params.time("end", MAX_TIME)? };
        let selectors = params.named_selectors()?;
        if range.start <= range.end {
            store.delete_series(&selectors, range)?;
        }
        Ok(())
    })
    .await?;
    Ok(done())
}

pub(crate) async fn clean_tombstones(State(api): Shared) -> Answered {
    api.allow_admin()?;
    api.change(|store| Ok(store.clean_tombstones()?)).await?;
    Ok(done())
}

#[derive(Serialize)]
struct Snapshot {
    name: String,
}

pub(crate) async fn snapshot(State(api): Shared, params: Params) -> Answered {
    api.allow_admin()?;
    // What is in memory is part of the copy in any case: it is moved into a block first, which costs little.
    match params.get("skip_head") {
        "" => false,
        text => numbers::boolean(text)
            .map_err(|e| ApiError::parameter("skip_head", format_args!("unable to parse boolean: {e}")))?,
    };
    let name = snapshot_name(runtime::now());
    let chosen = name.clone();
    api.change(move |store| Ok(store.snapshot(&chosen)?)).await?;
    Ok(json_response(StatusCode::OK, Answer::of(&Snapshot { name })?))
}

/// As Prometheus names them: the second, and something random, since there may be two in one.
fn snapshot_name(at: TimestampMs) -> String {
    let second = TimestampMs(at.0.div_euclid(1000) * 1000);
    let random = RandomState::new().build_hasher().finish();
    format!("{}-{random:016x}", rfc3339(second).replace(['-', ':'], ""))
}

pub(crate) async fn forget_source(State(api): Shared, params: Params) -> Answered {
    api.allow_admin()?;
    let text = params.get("source");
    if text.is_empty() {
        return Err(ApiError::bad_data("no source parameter provided"));
    }
    let wrong = || ApiError::parameter("source", "write it as /api/v1/fleet/sources shows it, such as edge/cell-7");
    let source = SourceName::parse(text).ok_or_else(wrong)?;
    let (fleet, named) = (api.options.fleet.clone(), source.clone());
    if api.compute(Instant::now() + LONGEST_TIMEOUT, move |_| Ok(fleet.forget(&named)?)).await? {
        return Ok(done());
    }
    let text = format!("{source} does not send here; what stands below another source is forgotten where it sends to");
    Err(ApiError::new(ErrorKind::NotFound, text))
}

fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

impl Api {
    fn allow_admin(&self) -> Result<(), ApiError> {
        if self.options.enable_admin {
            return Ok(());
        }
        Err(ApiError::new(ErrorKind::Disabled, "admin APIs disabled"))
    }

    /// Changes the store on the pool, however long that takes: a change that has begun is not taken back.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(Arc<dyn StoreSource>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let store = self.options.store.clone();
        self.compute(Instant::now() + LONGEST_TIMEOUT, |_| work(store)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_named_after_their_second() {
        let (one, other) =
            (snapshot_name(TimestampMs(1_700_000_000_250)), snapshot_name(TimestampMs(1_700_000_000_900)));
        assert!(one.starts_with("20231114T221320Z-") && one.len() == "20231114T221320Z-".len() + 16, "{one}");
        assert_ne!(one, other);
    }
}

//! `/silences` and `/silence/ID`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::TimestampMs;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::filter::{self, Pairs};
use super::{Api, Refusal, time};
use crate::cluster::random_u64;
use crate::engine::silence::{SilenceError, SilenceMatcher, SilenceRecord, SilenceState};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownSilence {
    id: String,
    status: ShownState,
    updated_at: String,
    comment: String,
    created_by: String,
    ends_at: String,
    matchers: Vec<SilenceMatcher>,
    starts_at: String,
}

#[derive(Serialize)]
struct ShownState {
    state: &'static str,
}

fn show(silence: &SilenceRecord, now: TimestampMs) -> ShownSilence {
    ShownSilence {
        id: silence.id.clone(),
        status: ShownState { state: silence.state(now).as_str() },
        updated_at: time::format(silence.updated_at),
        comment: silence.comment.clone(),
        created_by: silence.created_by.clone(),
        ends_at: time::format(silence.ends_at),
        matchers: silence.matchers.clone(),
        starts_at: time::format(silence.starts_at),
    }
}

/// Lists silences: the active ones first, the soonest to end before the others; then the pending and the expired.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<Vec<ShownSilence>>, Refusal> {
    let matchers = filter::matchers(&pairs)?;
    let now = runtime::now();
    let state = api.core.state.lock();
    let mut found: Vec<_> = state.silences.iter().filter(|s| filter::takes_silence(&matchers, s)).collect();
    found.sort_by_key(|s| match s.state(now) {
        SilenceState::Active => (SilenceState::Active, s.ends_at.0),
        SilenceState::Pending => (SilenceState::Pending, s.starts_at.0),
        SilenceState::Expired => (SilenceState::Expired, s.ends_at.0.saturating_neg()),
    });
    Ok(Json(found.into_iter().map(|s| show(s, now)).collect()))
}

/// One silence.
pub(super) async fn get(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Response, Refusal> {
    check_id(&id)?;
    let now = runtime::now();
    Ok(match api.core.state.lock().silences.get(&id) {
        Some(silence) => Json(show(silence, now)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

/// Ends one silence.
pub(super) async fn delete(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<StatusCode, Refusal> {
    check_id(&id)?;
    let result = api.core.state.lock().silences.expire(&id, runtime::now());
    if result.is_err() {
        return Ok(StatusCode::NOT_FOUND);
    }
    api.cluster.silence_changed(&id);
    Ok(StatusCode::OK)
}

/// That the ID in a path is a UUID, as the API's schema asks for.
fn check_id(id: &str) -> Result<(), Refusal> {
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit());
    if id.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && id.split('-').all(digits) {
        return Ok(());
    }
    Err(Refusal::unprocessable(601, format!("silenceID in path must be of type uuid: {id:?}")))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PostedSilence {
    id: Option<String>,
    matchers: Option<Vec<SilenceMatcher>>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    created_by: Option<String>,
    comment: Option<String>,
}

fn required<T>(name: &str, value: Option<T>) -> Result<T, Refusal> {
    value.ok_or_else(|| Refusal::unprocessable(602, format!("{name} in body is required")))
}

impl PostedSilence {
    fn into_record(self, now: TimestampMs) -> Result<SilenceRecord, Refusal> {
        let time = |name: &str, text: Option<String>| {
            let given = time::parse(text.as_deref()).map_err(|e| Refusal::malformed(format!("{name}: {e}")))?;
            required(name, given)
        };
        let matchers = required("matchers", self.matchers)?;
        if matchers.is_empty() {
            return Err(Refusal::unprocessable(612, "matchers in body should have at least 1 items"));
        }
        Ok(SilenceRecord {
            id: self.id.unwrap_or_default(),
            matchers,
            starts_at: time("startsAt", self.starts_at)?,
            ends_at: time("endsAt", self.ends_at)?,
            updated_at: now,
            created_by: required("createdBy", self.created_by)?,
            comment: required("comment", self.comment)?,
        })
    }
}

/// Makes or changes a silence.
pub(super) async fn post(State(api): State<Arc<Api>>, body: Bytes) -> Result<Response, Refusal> {
    let posted: PostedSilence =
        serde_json::from_slice(&body).map_err(|e| Refusal::malformed(format!("not a silence: {e}")))?;
    let now = runtime::now();
    let wanted = posted.into_record(now)?;
    let result = api.core.state.lock().silences.set(wanted, new_uuid(), now);
    let (id, changed) = result.map_err(|e| match e {
        SilenceError::NotFound => Refusal::of(StatusCode::NOT_FOUND, e),
        SilenceError::Invalid(_) | SilenceError::TooMany(_) => Refusal::bad_request(e),
    })?;
    changed.iter().for_each(|id| api.cluster.silence_changed(id));
    Ok(Json(json!({ "silenceID": id })).into_response())
}

/// A random UUID (version 4, RFC 9562).
fn new_uuid() -> String {
    let bits = (u128::from(random_u64()) << 64) | u128::from(random_u64());
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_uuids() {
        let (a, b) = (new_uuid(), new_uuid());
        assert_ne!(a, b);
        assert_eq!(a.len(), 36);
        assert_eq!(a.as_bytes()[14], b'4', "{a}");
        assert!(b"89ab".contains(&a.as_bytes()[19]), "{a}");
        assert!(check_id(&a).is_ok());
        for bad in ["", "x", "zzzzzzzz-1111-1111-1111-111111111111", "11111111-1111-1111-111111111111"] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }
}

//! `labels`, `label/NAME/values`, `series`, `metadata`: what is stored, without its samples.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use model::{Matcher, TimeRange};
use serde::Serialize;

use crate::answer::Answer;
use crate::api::{Answered, Shared};
use crate::error::ApiError;
use crate::escaping::unescape_name;
use crate::json;
use crate::params::Params;
use crate::query::TRUNCATED;
use crate::result::array;
use crate::stream::{List, Written};
use crate::time::{MAX_TIME, MIN_TIME};

/// Which series, and how much of the answer.
struct Scope {
    limit: Option<usize>,
    range: TimeRange,
    selectors: Vec<Vec<Matcher>>,
}

impl Scope {
    /// Reads the parameters; runs on the pool, since selectors hold regular expressions to compile.
    fn read(
        params: &Params,
        selectors: impl FnOnce(&Params) -> Result<Vec<Vec<Matcher>>, ApiError>,
    ) -> Result<Self, ApiError> {
        let limit = params.limit()?;
        let range = TimeRange { start: params.time("start", MIN_TIME)?, end: params.time("end", MAX_TIME)? };
        Ok(Self { limit, range, selectors: selectors(params)? })
    }

    /// Reads from the store, and nothing where the range is empty.
    fn read_store<T>(
        &self,
        read: impl FnOnce(&[Vec<Matcher>], TimeRange) -> Result<Vec<T>, model::SelectError>,
    ) -> Result<Vec<T>, ApiError> {
        if self.range.end < self.range.start { Ok(Vec::new()) } else { Ok(read(&self.selectors, self.range)?) }
    }

    /// Cuts the list to the limit and begins the answer.
    fn answer<T: Send + 'static>(
        &self,
        mut items: Vec<T>,
        write: impl Fn(&mut Vec<u8>, &T) + Send + 'static,
    ) -> Written {
        let mut warnings = Vec::new();
        if let Some(limit) = self.limit.filter(|limit| *limit < items.len()) {
            items.truncate(limit);
            warnings.push(TRUNCATED.to_owned());
        }
        let after = Answer { out: Vec::new() }.close(&warnings, &[]);
        array(Answer::open().out, List::new(items, b",", move |out, item| write(out, &item)), after)
    }
}

pub(crate) async fn label_names(State(api): Shared, params: Params) -> Answered {
    let storage = api.options.storage.clone();
    api.compute_written(move |_| {
        let scope = Scope::read(&params, Params::selectors)?;
        let names = scope.read_store(|selectors, range| storage.label_names(selectors, range))?;
        Ok(scope.answer(names, |out, name| json::string(out, name)))
    })
    .await
}

pub(crate) async fn label_values(State(api): Shared, Path(segment): Path<String>, params: Params) -> Answered {
    let name = unescape_name(&segment);
    if name.is_empty() {
        return Err(ApiError::bad_data(format!("invalid label name: {name:?}")));
    }
    let storage = api.options.storage.clone();
    api.compute_written(move |_| {
        let scope = Scope::read(&params, Params::selectors)?;
        let values = scope.read_store(|selectors, range| storage.label_values(&name, selectors, range))?;
        Ok(scope.answer(values, |out, value| json::string(out, value)))
    })
    .await
}

pub(crate) async fn series(State(api): Shared, params: Params) -> Answered {
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let storage = api.options.storage.clone();
    api.compute_written(move |_| {
        let scope = Scope::read(&params, Params::named_selectors)?;
        let series = scope.read_store(|selectors, range| storage.series(selectors, range))?;
        Ok(scope.answer(series, json::labels))
    })
    .await
}

#[derive(Serialize)]
struct Metadata {
    r#type: &'static str,
    help: String,
    unit: String,
}

pub(crate) async fn metadata(State(api): Shared, params: Params) -> Answered {
    let limit = params.count("limit")?;
    // Unlike for families, zero sets no limit here (as in Prometheus).
    let limit_per_metric = params.count("limit_per_metric")?.filter(|limit| *limit > 0);
    let wanted = params.get("metric").to_owned();
    let storage = api.options.storage.clone();
    api.compute_json(move || {
        let mut families: BTreeMap<String, Vec<Metadata>> = BTreeMap::new();
        for known in storage.metadata() {
            if !wanted.is_empty() && known.family != wanted {
                continue;
            }
            if !families.contains_key(&known.family) && limit.is_some_and(|limit| families.len() >= limit) {
                continue;
            }
            let family = families.entry(known.family).or_default();
            if limit_per_metric.is_none_or(|limit| family.len() < limit) {
                family.push(Metadata { r#type: known.kind.as_str(), help: known.help, unit: known.unit });
            }
        }
        Answer::of(&families)
    })
    .await
}

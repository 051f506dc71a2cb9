//! Queries and selectors as text: `format_query`, `parse_query`, and the selectors in parameters.

use axum::extract::State;
use model::Matcher;
use promql_syntax::Expr;

use crate::answer::Answer;
use crate::api::{Answered, Api, Shared};
use crate::error::ApiError;
use crate::json;
use crate::params::Params;

/// A query over as many lines as it needs.
pub(crate) async fn format_query(State(api): Shared, params: Params) -> Answered {
    let worker = api.clone();
    api.compute_json(move || {
        let mut answer = Answer::open();
        json::string(&mut answer.out, &parsed(&worker, &params)?.pretty());
        Ok(answer.close(&[], &[]))
    })
    .await
}

/// A query as a tree.
pub(crate) async fn parse_query(State(api): Shared, params: Params) -> Answered {
    let worker = api.clone();
    api.compute_json(move || Answer::of(&parsed(&worker, &params)?.to_json())).await
}

fn parsed(api: &Api, params: &Params) -> Result<Expr, ApiError> {
    let options = api.options.engine.options().syntax;
    promql_syntax::parse(params.get("query"), options).map_err(|e| ApiError::parameter("query", e))
}

/// A selector that every series may satisfy.
pub(crate) fn any_selector(text: &str) -> Result<Vec<Matcher>, String> {
    promql_syntax::parse_selector(text).map_err(|e| e.to_string())
}

/// A selector that not every series satisfies.
pub(crate) fn selector(text: &str) -> Result<Vec<Matcher>, String> {
    let matchers = any_selector(text)?;
    if matchers.iter().all(Matcher::matches_empty) {
        return Err("match[] must contain at least one non-empty matcher".to_owned());
    }
    Ok(matchers)
}

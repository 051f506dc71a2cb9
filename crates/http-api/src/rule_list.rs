//! `rules`, `alerts`, `alertmanagers`.

use std::collections::HashSet;

use axum::extract::State;
use axum::http::StatusCode;
use model::{LabelsBuilder, Matcher, matches_all};
use rules::status::{AlertStatus, GroupStatus, RuleStatus};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::answer::{Answer, json_response};
use crate::api::{Answered, Shared};
use crate::error::ApiError;
use crate::numbers;
use crate::params::Params;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Groups<G> {
    groups: Vec<G>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_next_token: Option<String>,
}

pub(crate) async fn rules(State(api): Shared, params: Params) -> Answered {
    let worker = api.clone();
    api.compute_json(move || {
        let filter = Filter::read(&params)?;
        let page = Page::read(&params)?;
        let (groups, group_next_token) = page.cut(worker.options.rules.groups(), &filter)?;
        if filter.alerts {
            return Answer::of(&Groups { groups, group_next_token });
        }
        let groups = groups.iter().map(without_alerts).collect::<Result<_, _>>()?;
        Answer::of(&Groups::<serde_json::Value> { groups, group_next_token })
    })
    .await
}

/// The group with `"alerts":null` in every rule that could have some, as Prometheus shows that nobody asked for them.
fn without_alerts(group: &GroupStatus) -> Result<serde_json::Value, ApiError> {
    let mut shown = serde_json::to_value(group)?;
    let rules = shown.get_mut("rules").and_then(serde_json::Value::as_array_mut);
    for alerts in rules.into_iter().flatten().filter_map(|rule| rule.get_mut("alerts")) {
        alerts.take();
    }
    Ok(shown)
}

/// Which rules are wanted; an empty set wants all.
struct Filter {
    alerting: bool,
    recording: bool,
    alerts: bool,
    rule_names: HashSet<String>,
    group_names: HashSet<String>,
    files: HashSet<String>,
    selectors: Vec<Vec<Matcher>>,
}

impl Filter {
    fn read(params: &Params) -> Result<Self, ApiError> {
        let kind = params.get("type").to_lowercase();
        if !matches!(kind.as_str(), "" | "alert" | "record") {
            return Err(ApiError::parameter("type", format_args!("not supported value {kind:?}")));
        }
        let set = |name: &str| params.all(name).map(str::to_owned).collect();
        Ok(Self {
            alerting: kind != "record",
            recording: kind != "alert",
            alerts: !exclude_alerts(params)?,
            rule_names: set("rule_name[]"),
            group_names: set("rule_group[]"),
            files: set("file[]"),
            selectors: params.selectors()?,
        })
    }

    /// What is left of a group; `None` when that is nothing.
    fn apply(&self, mut group: GroupStatus) -> Option<GroupStatus> {
        let wanted = |set: &HashSet<String>, name: &str| set.is_empty() || set.contains(name);
        if !wanted(&self.group_names, &group.name) || !wanted(&self.files, &group.file) {
            return None;
        }
        group.rules.retain(|rule| {
            let kind = match rule {
                RuleStatus::Alerting(_) => self.alerting,
                RuleStatus::Recording(_) => self.recording,
            };
            kind && wanted(&self.rule_names, rule.name()) && self.selects(rule)
        });
        (!group.rules.is_empty()).then_some(group)
    }

    /// Whether a selector matches the rule's own labels; a label with a template in it has no value yet.
    fn selects(&self, rule: &RuleStatus) -> bool {
        if self.selectors.is_empty() {
            return true;
        }
        let mut labels = LabelsBuilder::from_labels(rule.labels());
        labels.retain(|_, value| !value.contains("{{"));
        let labels = labels.build();
        self.selectors.iter().any(|selector| matches_all(selector, &labels))
    }
}

/// Whether alerts are left out of the list.
fn exclude_alerts(params: &Params) -> Result<bool, ApiError> {
    match params.get("exclude_alerts").to_lowercase().as_str() {
        "" => Ok(false),
        text => numbers::boolean(text)
            .map_err(|e| ApiError::parameter("exclude_alerts", format_args!("error converting exclude_alerts: {e}"))),
    }
}

/// Which part of a long list of groups is wanted.
struct Page {
    limit: usize,
    token: Option<String>,
}

impl Page {
    fn read(params: &Params) -> Result<Self, ApiError> {
        let (limit, token) = (params.get("group_limit"), params.get("group_next_token"));
        if limit.is_empty() {
            if token.is_empty() {
                return Ok(Self { limit: usize::MAX, token: None });
            }
            let reason = "group_limit needs to be present in order to paginate over the groups";
            return Err(ApiError::parameter("group_next_token", reason));
        }
        let refused = |reason: String| ApiError::parameter("group_limit", reason);
        let number = numbers::whole32(limit);
        let number = number.map_err(|e| refused(format!("group_limit needs to be a valid number: {e}")))?;
        match usize::try_from(number) {
            Ok(limit) if limit > 0 => {
                Ok(Self { limit, token: Some(token).filter(|t| !t.is_empty()).map(str::to_owned) })
            }
            _ => Err(refused("group_limit needs to be greater than 0".to_owned())),
        }
    }

    /// The groups of this page that the filter leaves, and the token of the next, when there is one.
    fn cut(&self, groups: Vec<GroupStatus>, filter: &Filter) -> Result<(Vec<GroupStatus>, Option<String>), ApiError> {
        let first = match &self.token {
            None => 0,
            Some(token) => groups.iter().position(|group| token_of(group) == *token).ok_or_else(|| {
                let reason = format!("invalid group_next_token '{token}'. were rule groups changed?");
                ApiError::parameter("group_next_token", reason)
            })?,
        };
        let mut left = groups.into_iter().skip(first).filter_map(|group| filter.apply(group));
        let page: Vec<_> = left.by_ref().take(self.limit).collect();
        Ok((page, left.next().as_ref().map(token_of)))
    }
}

/// Names a group without showing its file: SHA-256 of both, as in Prometheus.
fn token_of(group: &GroupStatus) -> String {
    let digest = Sha256::digest(format!("{};{}", group.file, group.name));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Serialize)]
struct Alerts {
    alerts: Vec<AlertStatus>,
}

pub(crate) async fn alerts(State(api): Shared) -> Answered {
    let mut alerts = Vec::new();
    for rule in api.options.rules.groups().into_iter().flat_map(|group| group.rules) {
        if let RuleStatus::Alerting(alerting) = rule {
            alerts.extend(alerting.alerts);
        }
    }
    Ok(json_response(StatusCode::OK, Answer::of(&Alerts { alerts })?))
}

#[derive(Serialize)]
struct Url {
    url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlertmanagerUrls {
    active_alertmanagers: Vec<Url>,
    dropped_alertmanagers: Vec<Url>,
}

pub(crate) async fn alertmanagers(State(api): Shared) -> Answered {
    let known = api.options.rules.alertmanagers();
    let urls = |list: Vec<String>| list.into_iter().map(|url| Url { url }).collect();
    let answer =
        AlertmanagerUrls { active_alertmanagers: urls(known.active), dropped_alertmanagers: urls(known.dropped) };
    Ok(json_response(StatusCode::OK, Answer::of(&answer)?))
}

//! `rules`, `alerts`, `alertmanagers`.

use std::collections::HashSet;

use axum::extract::State;
use axum::http::StatusCode;
use model::{LabelsBuilder, Matcher, matches_all};
use rules::status::{AlertStatus, GroupStatus, RuleStatus};
use serde::Serialize;

use crate::answer::{Answer, json_response};
use crate::api::{Answered, Shared};
use crate::error::ApiError;
use crate::params::Params;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Groups {
    groups: Vec<GroupStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_next_token: Option<String>,
}

pub(crate) async fn rules(State(api): Shared, params: Params) -> Answered {
    let worker = api.clone();
    api.compute_json(move || {
        let filter = Filter::read(&params)?;
        let page = Page::read(&params)?;
        let (groups, group_next_token) = page.cut(worker.options.rules.groups())?;
        let groups = groups.into_iter().filter_map(|group| filter.apply(group)).collect();
        Answer::of(&Groups { groups, group_next_token })
    })
    .await
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
            alerts: !boolean(params, "exclude_alerts")?,
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
        for rule in &mut group.rules {
            if let RuleStatus::Alerting(alerting) = rule
                && !self.alerts
            {
                alerting.alerts.clear();
            }
        }
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

/// Booleans as Go reads them; empty is false.
pub(crate) fn boolean(params: &Params, name: &str) -> Result<bool, ApiError> {
    match params.get(name) {
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        text => Err(ApiError::parameter(name, format_args!("{text:?} is neither true nor false"))),
    }
}

/// Which part of a long list of groups is wanted.
struct Page {
    limit: Option<usize>,
    token: Option<String>,
}

impl Page {
    fn read(params: &Params) -> Result<Self, ApiError> {
        let text = params.get("group_limit");
        let limit = match text {
            "" => None,
            text => match text.parse::<usize>() {
                Ok(limit) if limit > 0 => Some(limit),
                _ => return Err(ApiError::parameter("group_limit", "must be a number greater than zero")),
            },
        };
        let token = Some(params.get("group_next_token")).filter(|t| !t.is_empty()).map(str::to_owned);
        if token.is_some() && limit.is_none() {
            return Err(ApiError::parameter("group_limit", "must be given together with group_next_token"));
        }
        Ok(Self { limit, token })
    }

    /// The groups of this page, and the token of the next.
    fn cut(&self, mut groups: Vec<GroupStatus>) -> Result<(Vec<GroupStatus>, Option<String>), ApiError> {
        if let Some(token) = &self.token {
            let Some(first) = groups.iter().position(|group| token_of(group) == *token) else {
                let reason = format!("{token:?} names no group; were the rules changed? Start again without it");
                return Err(ApiError::parameter("group_next_token", reason));
            };
            groups.drain(..first);
        }
        let limit = self.limit.unwrap_or(usize::MAX);
        let next = groups.get(limit).map(token_of);
        groups.truncate(limit);
        Ok((groups, next))
    }
}

/// Names a group without showing its file.
fn token_of(group: &GroupStatus) -> String {
    let identity = model::Labels::from_pairs([("file", &group.file), ("name", &group.name)]);
    format!("{:016x}", identity.fingerprint())
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

//! One entry of `federate_configs`: chosen series of other servers, pulled from their `/federate`. It becomes scrape jobs,
//! one for each selector, so that one slow or heavy selector holds up none of the others.
//!
//! Labels and times are the other server's. Since the series have times of their own, a scrape would not end them: here
//! those that disappear are ended by a staleness marker.

use config::{Global, Mapping, Node};

use crate::scrape_config::{Defaults, ScrapeConfig};

const FEDERATE: Defaults = Defaults { metrics_path: "/federate", honor_labels: true, track_timestamps_staleness: true };
/// The parameter of `/federate` that selects series.
const SELECTOR: &str = "match[]";

/// Reads one entry. Where several requests are made of it, their jobs are `NAME/1`, `NAME/2` and so on.
pub(crate) fn decode(node: &Node<'_>, global: &Global) -> impl Iterator<Item = ScrapeConfig> {
    node.mapping().map(|fields| jobs(fields, global)).unwrap_or_default().into_iter()
}

fn jobs(fields: Mapping<'_>, global: &Global) -> Vec<ScrapeConfig> {
    let config = ScrapeConfig::read(&fields, global, &FEDERATE);
    let selectors = selectors(&fields);
    let are_parallel = fields.bool("parallel_matches").unwrap_or(true);
    let node = fields.node();
    fields.finish();
    let Some(config) = config else { return Vec::new() };
    if config.params.iter().any(|(name, _)| name == SELECTOR) {
        node.problem(format!("params has {SELECTOR}; list the selectors under match"));
    }
    let requests: Vec<Vec<String>> =
        if are_parallel { selectors.into_iter().map(|one| vec![one]).collect() } else { vec![selectors] };
    let is_one = requests.len() == 1;
    let job = |(at, selectors): (usize, Vec<String>)| {
        let mut job = config.clone();
        job.params.push((SELECTOR.to_owned(), selectors));
        job.params.sort();
        if !is_one {
            job.job_name = format!("{}/{}", config.job_name, at + 1);
        }
        job
    };
    requests.into_iter().enumerate().map(job).collect()
}

/// The selectors as written; whatever the other server would refuse is a problem here.
fn selectors(fields: &Mapping<'_>) -> Vec<String> {
    let items = fields.items("match");
    if items.is_empty() {
        fields.node().problem("match is missing; list selectors such as '{job=\"node\"}'");
    }
    let selector = |node: &Node<'_>| {
        let text = node.string()?;
        match promql_syntax::parse_selector(&text) {
            Err(error) => node.problem(format!("{text:?} is not a selector: {error}")),
            Ok(matchers) if matchers.iter().all(|matcher| matcher.matches("")) => {
                node.problem(format!("{text:?} also selects what has no labels; name a metric or a label's value"));
            }
            Ok(_) => {}
        }
        Some(text)
    };
    items.iter().filter_map(selector).collect()
}

#[cfg(test)]
mod tests {
    use config::Document;

    use super::*;

    fn decode_text(entry: &str) -> (Vec<ScrapeConfig>, Vec<String>) {
        let text = format!("federate_configs: [{entry}]");
        let document = Document::parse("c.yml".as_ref(), &text).expect("is YAML");
        let fields = document.root().mapping().expect("a mapping");
        let jobs = ScrapeConfig::decode_all(&fields, &Global::default());
        fields.finish();
        let problems = document.finish().err().map(|p| p.0.iter().map(ToString::to_string).collect());
        (jobs, problems.unwrap_or_default())
    }

    #[test]
    fn each_selector_is_a_job_unless_told_otherwise() {
        let both = r#"job_name: old, match: [up, '{job=~"a|b"}'], static_configs: [{targets: ['h:9090']}]"#;
        let shape = |entry: &str| {
            let (jobs, problems) = decode_text(entry);
            assert_eq!(problems, [""; 0], "{entry}");
            let common = |job: &ScrapeConfig| {
                assert_eq!(job.metrics_path, "/federate");
                assert!(job.honor_labels && job.honor_timestamps && job.track_timestamps_staleness);
            };
            jobs.iter().for_each(common);
            jobs.into_iter().map(|job| (job.job_name, job.params)).collect::<Vec<_>>()
        };
        let asks = |selectors: &[&str]| {
            vec![("match[]".to_owned(), selectors.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())]
        };
        let (first, second) = ("up", r#"{job=~"a|b"}"#);
        let want = vec![("old/1".to_owned(), asks(&[first])), ("old/2".to_owned(), asks(&[second]))];
        assert_eq!(shape(&format!("{{{both}}}")), want);
        let want = vec![("old".to_owned(), asks(&[first, second]))];
        assert_eq!(shape(&format!("{{{both}, parallel_matches: false}}")), want);
        assert_eq!(shape("{job_name: old, match: [up]}"), vec![("old".to_owned(), asks(&[first]))]);
    }

    #[test]
    fn what_an_entry_says_wins() {
        let (jobs, problems) = decode_text(
            "{job_name: a, match: [up], metrics_path: /x/federate, honor_labels: false, track_timestamps_staleness: false, \
             params: {x: [y]}, sample_limit: 5}",
        );
        assert_eq!(problems, [""; 0]);
        assert!(!jobs[0].honor_labels && !jobs[0].track_timestamps_staleness && jobs[0].params.len() == 2);
        assert_eq!((jobs[0].metrics_path.as_str(), jobs[0].limits.samples), ("/x/federate", 5));
    }

    #[test]
    fn mistakes_are_named() {
        for (entry, want) in [
            ("{job_name: a}", "match is missing; list selectors"),
            ("{job_name: a, match: []}", "match is missing; list selectors"),
            ("{job_name: a, match: ['up{']}", "\"up{\" is not a selector: "),
            ("{job_name: a, match: ['{}']}", "\"{}\" also selects what has no labels"),
            ("{job_name: a, match: ['{a=~\".*\"}']}", "also selects what has no labels"),
            ("{job_name: a, match: [up], params: {'match[]': [up]}}", "list the selectors under match"),
            ("{match: [up]}", "job_name is missing"),
            ("{job_name: a, match: [up], matches: [up]}", "did you mean \"match\"?"),
            ("{job_name: a, match: [up]}, {job_name: a, match: [down]}", "multiple scrape configs with job name \"a\""),
        ] {
            let (_, problems) = decode_text(entry);
            assert!(problems.len() == 1 && problems[0].contains(want), "{entry}: {problems:?}");
        }
    }
}

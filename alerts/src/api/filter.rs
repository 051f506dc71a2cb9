//! The query parameters that select alerts and silences.

use model::{Labels, MatchOp, Matcher, matches_all};

use super::Refusal;
use crate::engine::matchers::parse_matchers;
use crate::engine::silence::SilenceRecord;
use crate::engine::state::Suppression;

/// A query string as pairs; keys may repeat.
pub type Pairs = Vec<(String, String)>;

/// Which alerts are asked for.
pub struct AlertFilter {
    active: bool,
    silenced: bool,
    inhibited: bool,
    matchers: Vec<Matcher>,
    receiver: Option<Matcher>,
}

impl AlertFilter {
    /// Reads `active`, `silenced`, `inhibited`, `unprocessed`, `filter` and `receiver`.
    ///
    /// # Errors
    /// On values that are no truth values, matchers or regular expressions.
    pub fn parse(pairs: &Pairs) -> Result<Self, Refusal> {
        let flag = |name: &str| match last(pairs, name) {
            None => Ok(true),
            Some(text) => truth(text).ok_or_else(|| Refusal::bad_request(format!("{name} must be true or false"))),
        };
        let receiver = last(pairs, "receiver").filter(|r| !r.is_empty()).map(|pattern| {
            Matcher::new(MatchOp::Regex, "receiver", pattern)
                .map_err(|e| Refusal::bad_request(format!("failed to parse receiver param: {e}")))
        });
        // Known, but no alert is ever unprocessed: each is routed when it arrives.
        flag("unprocessed")?;
        Ok(Self {
            active: flag("active")?,
            silenced: flag("silenced")?,
            inhibited: flag("inhibited")?,
            matchers: matchers(pairs)?,
            receiver: receiver.transpose()?,
        })
    }

    /// Whether labels are asked for.
    pub fn takes_labels(&self, labels: &Labels) -> bool {
        matches_all(&self.matchers, labels)
    }

    /// Whether a receiver is asked for.
    pub fn takes_receiver(&self, name: &str) -> bool {
        self.receiver.as_ref().is_none_or(|r| r.matches(name))
    }

    /// Whether alerts in this condition are asked for.
    pub fn takes_condition(&self, suppression: &Suppression) -> bool {
        let (silenced, inhibited) = (!suppression.silenced_by.is_empty(), !suppression.inhibited_by.is_empty());
        (self.active || silenced || inhibited) && (self.silenced || !silenced) && (self.inhibited || !inhibited)
    }
}

/// The matchers of every `filter` parameter.
pub fn matchers(pairs: &Pairs) -> Result<Vec<Matcher>, Refusal> {
    let filters = pairs.iter().filter(|(name, _)| name == "filter" || name == "filter[]");
    let parsed: Result<Vec<_>, _> = filters.map(|(_, text)| parse_matchers(text)).collect();
    Ok(parsed.map_err(Refusal::bad_request)?.into_iter().flatten().collect())
}

/// Whether a silence has every one of the matchers, word for word: Alertmanager compares matchers here, not labels.
pub fn takes_silence(matchers: &[Matcher], silence: &SilenceRecord) -> bool {
    matchers.iter().all(|matcher| silence.matchers.iter().any(|m| m.is_same_as(matcher)))
}

fn last<'a>(pairs: &'a Pairs, name: &str) -> Option<&'a str> {
    pairs.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "t" | "yes" | "y" | "on" | "" => Some(true),
        "false" | "0" | "f" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use model::TimestampMs;

    use super::*;
    use crate::engine::silence::SilenceMatcher;

    fn filter(pairs: &[(&str, &str)]) -> Option<AlertFilter> {
        let pairs: Pairs = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        AlertFilter::parse(&pairs).ok()
    }

    #[test]
    fn conditions_are_selected() {
        let active = Suppression::default();
        let silenced = Suppression { silenced_by: vec!["s".to_owned()], ..Suppression::default() };
        let inhibited = Suppression { inhibited_by: vec![1], ..Suppression::default() };
        type Case = (&'static [(&'static str, &'static str)], [bool; 3]);
        let cases: [Case; 5] = [
            (&[], [true, true, true]),
            (&[("active", "false")], [false, true, true]),
            (&[("silenced", "false")], [true, false, true]),
            (&[("inhibited", "0"), ("silenced", "f")], [true, false, false]),
            (&[("active", "false"), ("silenced", "false"), ("inhibited", "false")], [false, false, false]),
        ];
        for (pairs, want) in cases {
            let filter = filter(pairs).expect("parses");
            let got = [&active, &silenced, &inhibited].map(|s| filter.takes_condition(s));
            assert_eq!(got, want, "{pairs:?}");
        }
    }

    #[test]
    fn silences_are_selected_by_the_matchers_they_have() {
        let matcher = |name: &str, value: &str, is_regex, is_equal| SilenceMatcher {
            name: name.to_owned(),
            value: value.to_owned(),
            is_regex,
            is_equal,
        };
        let silence = SilenceRecord {
            id: String::new(),
            matchers: vec![matcher("team", "x|z", true, true), matcher("severity", "info", false, false)],
            starts_at: TimestampMs(0),
            ends_at: TimestampMs(1),
            updated_at: TimestampMs(0),
            created_by: String::new(),
            comment: String::new(),
        };
        let taken: [&[_]; 4] = [&[], &["team=~x|z"], &["severity!=info"], &["team=~\"x|z\"", "severity!=\"info\""]];
        let refused: [&[_]; 7] = [
            &["team=x|z"],
            &["team=~x"],
            &["team=~.*"],
            &["severity=info"],
            &["severity!~info"],
            &["nope=\"\""],
            &["team=~x|z", "nope!=a"],
        ];
        for (filters, want) in taken.iter().map(|f| (f, true)).chain(refused.iter().map(|f| (f, false))) {
            let pairs: Pairs = filters.iter().map(|f| ("filter".to_owned(), (*f).to_owned())).collect();
            let matchers = matchers(&pairs).ok().expect("parses");
            assert_eq!(takes_silence(&matchers, &silence), want, "{filters:?}");
        }
    }

    #[test]
    fn labels_and_receivers_are_selected() {
        let both = filter(&[("filter", "a=\"1\""), ("filter", "b=~x|y"), ("receiver", "team-.*")]).expect("parses");
        assert!(both.takes_labels(&Labels::from_pairs([("a", "1"), ("b", "y")])));
        assert!(!both.takes_labels(&Labels::from_pairs([("a", "1")])));
        assert!(both.takes_receiver("team-x") && !both.takes_receiver("a-team-x"));
        for bad in [("filter", "a"), ("receiver", "["), ("active", "perhaps")] {
            assert!(filter(&[bad]).is_none(), "{bad:?}");
        }
    }
}

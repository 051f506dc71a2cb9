//! The route tree: which receivers hear of an alert, grouped how and how often.

use std::time::Duration;

use model::{Labels, Matcher, matches_all};

use super::matchers::format_matchers;

/// By which labels alerts become one notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupBy {
    /// These; alerts that agree on all of them stand together.
    Labels(Vec<String>),
    /// `['...']`: every alert stands alone.
    All,
}

impl GroupBy {
    /// The labels that identify the group of an alert.
    pub fn labels_of(&self, alert: &Labels) -> Labels {
        match self {
            Self::All => alert.clone(),
            Self::Labels(names) => alert.keep_only(&names.iter().map(String::as_str).collect::<Vec<_>>()),
        }
    }
}

/// What a route says, with what it inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteOptions {
    /// The receiver's name; it exists.
    pub receiver: String,
    /// How alerts are grouped.
    pub group_by: GroupBy,
    /// How long a new group waits for more alerts.
    pub group_wait: Duration,
    /// How often a group is looked at afterwards.
    pub group_interval: Duration,
    /// After how long an unchanged group is sent again.
    pub repeat_interval: Duration,
    /// Names of time intervals during which nothing is sent; not inherited.
    pub mute_time_intervals: Vec<String>,
    /// Names of time intervals outside which nothing is sent, where there are any; not inherited.
    pub active_time_intervals: Vec<String>,
}

/// One node of the tree.
#[derive(Debug, Clone)]
pub struct Route {
    /// The matchers from the root down to here; the first part of the key of every group.
    pub key: String,
    /// What it says.
    pub options: RouteOptions,
    matchers: Vec<Matcher>,
    continues: bool,
    children: Vec<usize>,
}

/// All routes; the root has index 0 and matches everything.
#[derive(Debug, Clone)]
pub struct RouteTree {
    routes: Vec<Route>,
}

impl RouteTree {
    /// A tree of only a root.
    pub fn new(root: RouteOptions) -> Self {
        let root =
            Route { key: "{}".to_owned(), options: root, matchers: Vec::new(), continues: false, children: Vec::new() };
        Self { routes: vec![root] }
    }

    /// Adds a route below `parent` after its other children. `matchers` are sorted. Returns its index.
    pub fn add(&mut self, parent: usize, matchers: Vec<Matcher>, continues: bool, options: RouteOptions) -> usize {
        let index = self.routes.len();
        let Some(above) = self.routes.get_mut(parent) else { return parent };
        above.children.push(index);
        let key = format!("{}/{}", above.key, format_matchers(&matchers));
        self.routes.push(Route { key, options, matchers, continues, children: Vec::new() });
        index
    }

    /// A route by index.
    pub fn get(&self, index: usize) -> Option<&Route> {
        self.routes.get(index)
    }

    /// The routes an alert takes, by index: depth first, left to right; the first child that matches ends the search
    /// among its siblings unless it continues; a node counts only when none of its children does.
    pub fn matching(&self, labels: &Labels) -> Vec<usize> {
        let mut found = Vec::new();
        self.descend(0, labels, &mut found);
        found
    }

    fn descend(&self, index: usize, labels: &Labels, found: &mut Vec<usize>) -> bool {
        let Some(route) = self.routes.get(index).filter(|r| matches_all(&r.matchers, labels)) else { return false };
        let mut any = false;
        for child in &route.children {
            if self.descend(*child, labels, found) {
                any = true;
                if !self.routes.get(*child).is_some_and(|c| c.continues) {
                    break;
                }
            }
        }
        if !any {
            found.push(index);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::matchers::parse_matchers;

    fn options(receiver: &str) -> RouteOptions {
        RouteOptions {
            receiver: receiver.to_owned(),
            group_by: GroupBy::Labels(vec!["alertname".to_owned()]),
            group_wait: Duration::from_secs(30),
            group_interval: Duration::from_secs(300),
            repeat_interval: Duration::from_secs(14_400),
            mute_time_intervals: Vec::new(),
            active_time_intervals: Vec::new(),
        }
    }

    fn tree() -> RouteTree {
        let mut tree = RouteTree::new(options("default"));
        let mut add = |parent, matchers: &str, continues, receiver: &str| {
            tree.add(parent, parse_matchers(matchers).expect("parses"), continues, options(receiver))
        };
        let a = add(0, "team=a", false, "a");
        add(a, "severity=page", true, "a-page");
        add(a, "severity=~page|warn", false, "a-warn");
        add(a, "severity!=info", false, "a-other");
        add(0, "team=b", true, "b");
        add(0, "team=~b|c", false, "bc");
        tree
    }

    #[test]
    fn walks_depth_first() {
        type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);
        let cases: [Case; 7] = [
            (&[("x", "y")], &["default"]),
            (&[("team", "a"), ("severity", "info")], &["a"]),
            (&[("team", "a"), ("severity", "page")], &["a-page", "a-warn"]),
            (&[("team", "a"), ("severity", "warn")], &["a-warn"]),
            (&[("team", "a")], &["a-other"]),
            (&[("team", "b")], &["b", "bc"]),
            (&[("team", "c")], &["bc"]),
        ];
        let tree = tree();
        for (labels, want) in cases {
            let found = tree.matching(&Labels::from_pairs(labels.iter().copied()));
            let names: Vec<_> = found.iter().map(|i| tree.get(*i).expect("exists").options.receiver.as_str()).collect();
            assert_eq!(names, want, "{labels:?}");
        }
    }

    #[test]
    fn keys_name_the_way_down() {
        let keys: Vec<_> = tree().routes.iter().map(|r| r.key.clone()).collect();
        assert_eq!(keys[0], "{}");
        assert_eq!(keys[2], r#"{}/{team="a"}/{severity="page"}"#);
    }

    #[test]
    fn groups_by_what_is_asked() {
        let alert = Labels::from_pairs([("a", "1"), ("b", "2")]);
        let by = |names: &[&str]| GroupBy::Labels(names.iter().map(|n| (*n).to_owned()).collect()).labels_of(&alert);
        assert_eq!(by(&["b", "c"]), Labels::from_pairs([("b", "2")]));
        assert_eq!(by(&[]), Labels::empty());
        assert_eq!(GroupBy::All.labels_of(&alert), alert);
    }
}

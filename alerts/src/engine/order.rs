//! The orders in which Alertmanager lists alerts and groups; users compare texts and know where to look.

use std::cmp::Ordering;

use model::Labels;

/// Fewer labels first. Of equally many, at the first name that not both have the one without comes first; else the
/// first value that differs decides.
pub fn label_order(a: &Labels, b: &Labels) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| {
        for ((a_name, a_value), (b_name, b_value)) in a.iter().zip(b.iter()) {
            // The set whose name comes later lacks the earlier name.
            let order = b_name.cmp(a_name).then_with(|| a_value.cmp(b_value));
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    })
}

/// Alerts in a notification: by job, then instance, then all labels; those without come last.
pub fn notification_order(a: &Labels, b: &Labels) -> Ordering {
    let by = |name: &str| {
        let (a, b) = (a.get(name), b.get(name));
        a.is_none().cmp(&b.is_none()).then(a.cmp(&b))
    };
    by("job").then_with(|| by("instance")).then_with(|| label_order(a, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_sets_are_listed_as_alertmanager_does() {
        let mut labels = [
            &[("alertname", "b")][..],
            &[("job", "a")],
            &[("alertname", "a"), ("job", "z")],
            &[],
            &[("alertname", "a")],
            &[("job", "a"), ("zone", "a")],
        ]
        .map(|pairs| Labels::from_pairs(pairs.iter().copied()));
        labels.sort_by(label_order);
        let want = [
            "{}",
            r#"{job="a"}"#,
            r#"{alertname="a"}"#,
            r#"{alertname="b"}"#,
            r#"{job="a", zone="a"}"#,
            r#"{alertname="a", job="z"}"#,
        ];
        assert_eq!(labels.map(|l| l.to_string()), want);
    }

    #[test]
    fn notifications_list_alerts_by_job_and_instance() {
        let mut labels: Vec<_> = [
            &[("a", "1")][..],
            &[("instance", "2"), ("job", "x")],
            &[("instance", "1"), ("job", "y")],
            &[("instance", "1"), ("job", "x")],
        ]
        .map(|pairs| Labels::from_pairs(pairs.iter().copied()))
        .into();
        labels.sort_by(notification_order);
        let shown: Vec<_> = labels.iter().map(ToString::to_string).collect();
        let want =
            [r#"{instance="1", job="x"}"#, r#"{instance="2", job="x"}"#, r#"{instance="1", job="y"}"#, r#"{a="1"}"#];
        assert_eq!(shown, want);
    }
}

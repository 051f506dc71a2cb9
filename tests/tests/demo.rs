//! The demo as `make demo` runs it, small: every tier and router as a process of its own, a fault, and its message.

use std::process::Command;

use crate::harness::binary;

#[test]
fn the_demo_brings_an_alert_to_every_channel_and_ends_by_itself() {
    let mut command = Command::new(binary());
    command.args(["demo", "--json", "--duration", "90s", "--regions", "1", "--metaclusters", "2", "--clusters", "3"]);
    let output = command.output().expect("runs");
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{errors}");
    assert!(errors.contains("all links healthy"), "{errors}");
    let report: serde_json::Value =
        serde_json::from_str(out.lines().last().unwrap_or_default()).expect("the last line is JSON");
    assert!(
        report["links"].as_object().is_some_and(|all| !all.is_empty() && all.values().all(|link| link == "ok")),
        "{report}"
    );
    assert!(report["seconds_to_healthy"].as_f64().is_some_and(|s| s < 60.0), "{report}");
    assert_eq!(report["targets"]["up"], report["targets"]["total"], "{report}");
    for channel in ["dingtalk", "email", "sms"] {
        assert!(report["messages"][channel].as_u64().is_some_and(|n| n >= 1), "{channel}: {report}");
        let seconds = report["seconds_from_fault_to_message"][channel].as_f64();
        assert!(seconds.is_some_and(|s| s > 0.0 && s < 45.0), "{channel}: {report}");
    }
    for tier in ["edge", "cascade", "central"] {
        assert!(report["samples"]["total"][tier].as_f64().is_some_and(|n| n > 0.0), "{tier}: {report}");
    }
}

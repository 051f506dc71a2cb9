//! What the alerts of `deploy/rules` say and when, by Debian's promtool: the files of `tests/rules` say what is expected.

use std::process::Command;

use crate::harness::root;

#[test]
fn alerts_come_when_their_tests_expect_them() {
    let folder = root().join("tests/rules");
    let entries = std::fs::read_dir(&folder).expect("is readable");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("is readable").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "there are no tests in {}", folder.display());
    let output = Command::new("promtool").args(["test", "rules"]).args(&files).output();
    let output = output.unwrap_or_else(|e| panic!("promtool: {e}; run `make test-peers`"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{text}");
}

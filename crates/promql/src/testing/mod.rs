//! Tests of the whole engine: scripts in `tests/scripts`, and properties.

mod hints;
mod properties;
mod script;
mod storage;

use std::path::Path;

#[test]
fn scripts_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = folder.read_dir().expect("folder").map(|entry| entry.expect("entry").path()).collect();
    paths.sort();
    let mut failures = Vec::new();
    let mut cases = 0;
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("script");
        let name = path.file_name().expect("file name").to_string_lossy().into_owned();
        let report = script::run(&text);
        cases += report.cases;
        failures.extend(report.failures.into_iter().map(|f| format!("{name}:{f}")));
    }
    assert!(failures.is_empty(), "{} of {cases} cases failed:\n{}", failures.len(), failures.join("\n"));
    assert!(cases > 200, "only {cases} cases were found");
}

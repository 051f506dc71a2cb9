//! Tests of the whole engine: scripts in `tests/scripts`, and properties.

mod generated;
mod hints;
mod limits;
mod properties;
mod script;
mod sharing;
pub(crate) mod storage;
mod watched;

use std::path::Path;

#[test]
fn scripts_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = folder.read_dir().expect("folder").map(|entry| entry.expect("entry").path()).collect();
    paths.sort();
    let (mut failures, mut all) = (Vec::new(), String::new());
    let mut cases = 0;
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("script");
        let name = path.file_name().expect("file name").to_string_lossy().into_owned();
        let report = script::run(&text);
        all.push_str(&text);
        cases += report.cases;
        failures.extend(report.failures.into_iter().map(|f| format!("{name}:{f}")));
    }
    assert!(failures.is_empty(), "{} of {cases} cases failed:\n{}", failures.len(), failures.join("\n"));
    // What the engine refuses by name is tested elsewhere.
    let known = promql_syntax::functions().iter().map(|f| f.name);
    let known = known.filter(|name| !["integral", "start_timestamp"].contains(name));
    let missing: Vec<_> = known.filter(|name| !all.contains(&format!("{name}("))).collect();
    assert!(missing.is_empty(), "no script has {missing:?}");
    let aggregations = promql_syntax::AggregateOp::ALL.map(|op| format!("ask {op}"));
    let missing: Vec<_> = aggregations.iter().filter(|op| !all.contains(*op)).collect();
    assert!(missing.is_empty(), "no script has {missing:?}");
}

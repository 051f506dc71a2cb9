//! `file_sd_configs`: target groups from JSON and YAML files, read again when they change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use config::{Document, Mapping};
use model::{LabelsBuilder, is_legacy_label_name};

use crate::discovery::{TargetGroup, decode_group};

const FILE_PATH_LABEL: &str = "__meta_filepath";
const DEFAULT_REFRESH: Duration = Duration::from_secs(300);
/// Larger files are not read.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// One entry of `file_sd_configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileDiscoveryConfig {
    /// Only the last element may hold `*` and `?`.
    patterns: Vec<PathBuf>,
    refresh_interval: Duration,
}

impl FileDiscoveryConfig {
    pub(crate) fn decode_list(fields: &Mapping<'_>, key: &'static str) -> Vec<Self> {
        let mut out = Vec::new();
        for node in fields.items(key) {
            let Some(fields) = node.mapping() else { continue };
            let mut patterns = Vec::new();
            for item in fields.items("files") {
                match item.parse(check_pattern) {
                    Some(()) => patterns.extend(item.path()),
                    None => continue,
                }
            }
            if fields.get("files").is_none_or(|n| n.items().is_empty()) {
                node.problem("file service discovery config must contain at least one path name; add files");
            }
            let refresh_interval = fields.positive_duration("refresh_interval").unwrap_or(DEFAULT_REFRESH);
            fields.finish();
            out.push(Self { patterns, refresh_interval });
        }
        out
    }
}

fn check_pattern(text: &str) -> Result<(), String> {
    let (folder, name) = text.rsplit_once('/').unwrap_or(("", text));
    let has_extension = ["json", "yml", "yaml", "JSON", "YML", "YAML"]
        .iter()
        .any(|e| name.strip_suffix(e).is_some_and(|stem| stem.ends_with('.')));
    if folder.contains('*') || name.matches('*').count() > 1 || !has_extension {
        return Err(format!(
            "path name {text:?} is not valid for file discovery; \
             it ends in .json, .yml or .yaml and has at most one *, in its last element"
        ));
    }
    Ok(())
}

/// What a file looked like when it was read.
type Signature = (SystemTime, u64);

#[derive(Debug, Default)]
struct KnownFile {
    /// `None` when the last reading failed, so that the next look reads again.
    signature: Option<Signature>,
    groups: Vec<TargetGroup>,
}

/// Watches the files of one [`FileDiscoveryConfig`]. Looking touches the disk: not for asynchronous tasks.
#[derive(Debug)]
pub(crate) struct FileDiscovery {
    config: FileDiscoveryConfig,
    files: BTreeMap<PathBuf, KnownFile>,
    read_all_at: Option<Instant>,
    read_errors: u64,
}

impl FileDiscovery {
    pub(crate) fn new(config: FileDiscoveryConfig) -> Self {
        Self { config, files: BTreeMap::new(), read_all_at: None, read_errors: 0 }
    }

    /// Looks at the files; true when there are other targets than before. A file that cannot be read or understood
    /// keeps the targets it had; one that is gone takes them along.
    pub(crate) fn look(&mut self) -> bool {
        let read_all = self.read_all_at.is_none_or(|at| at.elapsed() >= self.config.refresh_interval);
        if read_all {
            self.read_all_at = Some(Instant::now());
        }
        let paths = self.config.patterns.iter().flat_map(|p| expand(p)).collect::<Vec<_>>();
        let before = self.files.len();
        self.files.retain(|path, _| paths.contains(path));
        let mut changed = self.files.len() != before;
        for path in paths {
            let signature = signature_of(&path);
            let known = self.files.entry(path.clone()).or_default();
            if !read_all && known.signature.is_some() && known.signature == signature {
                continue;
            }
            match read(&path) {
                Ok(groups) => {
                    known.signature = signature;
                    changed |= known.groups != groups;
                    known.groups = groups;
                }
                Err(error) => {
                    // Said once per state of the file, not at every look.
                    if known.signature.take().is_some() || read_all {
                        tracing::warn!(file = %path.display(), %error, "cannot use a file_sd file; its targets stay");
                    }
                    self.read_errors += 1;
                }
            }
        }
        changed
    }

    /// The target groups as of the last look.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &TargetGroup> {
        self.files.values().flat_map(|f| &f.groups)
    }

    /// How many readings failed since this was asked last.
    pub(crate) fn take_read_errors(&mut self) -> u64 {
        std::mem::take(&mut self.read_errors)
    }
}

fn signature_of(path: &Path) -> Option<Signature> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// The files that a pattern names now.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let Some(name) = pattern.file_name().and_then(|n| n.to_str()) else { return Vec::new() };
    if !name.contains(['*', '?']) {
        return if pattern.is_file() { vec![pattern.to_owned()] } else { Vec::new() };
    }
    let folder = pattern.parent().unwrap_or(Path::new(""));
    let shown = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = std::fs::read_dir(shown) else { return Vec::new() };
    let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
    names.filter(|n| matches_glob(name, n)).map(|n| folder.join(n)).filter(|p| p.is_file()).collect()
}

/// `*` is any run of characters, `?` is one. At most one `*` (see [`check_pattern`]).
fn matches_glob(pattern: &str, name: &str) -> bool {
    let same = |p: &str, n: &str| {
        p.chars().count() == n.chars().count() && p.chars().zip(n.chars()).all(|(p, n)| p == '?' || p == n)
    };
    let Some((head, tail)) = pattern.split_once('*') else { return same(pattern, name) };
    let characters: Vec<char> = name.chars().collect();
    let (head_length, tail_length) = (head.chars().count(), tail.chars().count());
    if characters.len() < head_length + tail_length {
        return false;
    }
    let front: String = characters[..head_length].iter().collect();
    let back: String = characters[characters.len() - tail_length..].iter().collect();
    same(head, &front) && same(tail, &back)
}

fn read(path: &Path) -> Result<Vec<TargetGroup>, String> {
    let is_json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let groups = if is_json { read_json(path)? } else { read_yaml(path)? };
    let shown = path.display().to_string();
    let with_path = |group: TargetGroup| TargetGroup {
        labels: LabelsBuilder::from_labels(&group.labels).set(FILE_PATH_LABEL, &shown).build(),
        ..group
    };
    Ok(groups.into_iter().map(with_path).collect())
}

fn read_yaml(path: &Path) -> Result<Vec<TargetGroup>, String> {
    let document = Document::load(path).map_err(|e| e.to_string())?;
    let groups = document.root().items().iter().filter_map(|n| decode_group(n, false)).collect();
    document.finish().map_err(|e| e.to_string())?;
    Ok(groups)
}

fn read_json(path: &Path) -> Result<Vec<TargetGroup>, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("the file has {size} bytes, more than the {MAX_FILE_BYTES} allowed; split it"));
    }
    let text = std::fs::read(path).map_err(|e| e.to_string())?;
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    let items = value.as_array().ok_or("expected a list of target groups")?;
    items.iter().map(json_group).collect()
}

fn json_group(value: &serde_json::Value) -> Result<TargetGroup, String> {
    let fields = value.as_object().ok_or("expected an object with targets and labels")?;
    if let Some(key) = fields.keys().find(|k| !matches!(k.as_str(), "targets" | "labels")) {
        return Err(format!("unknown key {key:?}; known here: targets, labels"));
    }
    let text = |v: &serde_json::Value| v.as_str().map(str::to_owned).ok_or_else(|| format!("expected text, found {v}"));
    let addresses = match fields.get("targets") {
        Some(targets) => {
            targets.as_array().ok_or("targets is not a list")?.iter().map(text).collect::<Result<_, _>>()?
        }
        None => Vec::new(),
    };
    let mut labels = LabelsBuilder::new();
    if let Some(pairs) = fields.get("labels").filter(|v| !v.is_null()) {
        for (name, value) in pairs.as_object().ok_or("labels is not an object")? {
            if !is_legacy_label_name(name) {
                return Err(format!("{name:?} is not a label name"));
            }
            labels.set(name, &text(value)?);
        }
    }
    Ok(TargetGroup { addresses, labels: labels.build() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn decode(yaml: &str, folder: &Path) -> Result<Vec<FileDiscoveryConfig>, Vec<String>> {
        let document = Document::parse(&folder.join("c.yml"), yaml).expect("is YAML");
        let fields = document.root().mapping().expect("a mapping");
        let configs = FileDiscoveryConfig::decode_list(&fields, "file_sd_configs");
        fields.finish();
        document.finish().map(|()| configs).map_err(|p| p.0.into_iter().map(|p| p.message).collect())
    }

    fn addresses(discovery: &FileDiscovery) -> Vec<String> {
        discovery.groups().flat_map(|g| g.addresses.clone()).collect()
    }

    fn discovery(folder: &Path, pattern: &str, refresh: &str) -> FileDiscovery {
        let yaml = format!("file_sd_configs: [{{files: ['{pattern}'], refresh_interval: {refresh}}}]");
        FileDiscovery::new(decode(&yaml, folder).expect("valid").remove(0))
    }

    #[test]
    fn patterns_are_those_of_prometheus() {
        for good in ["a.json", "a/b.yml", "/x/*.yaml", "a/t_*.json", "*.JSON", "?.yml"] {
            assert!(check_pattern(good).is_ok(), "{good}");
        }
        for bad in ["a", "a.txt", "json", "*/a.json", "a*b*.yml", "a/*"] {
            assert!(check_pattern(bad).is_err(), "{bad}");
        }
        for (pattern, name, want) in [
            ("*.yml", "a.yml", true),
            ("*.yml", "a.json", false),
            ("a*b.yml", "ab.yml", true),
            ("a*b.yml", "axxb.yml", true),
            ("aa*a.yml", "aa.yml", false),
            ("?.yml", "ä.yml", true),
            ("?.yml", "ab.yml", false),
        ] {
            assert_eq!(matches_glob(pattern, name), want, "{pattern} {name}");
        }
        let problems = decode("file_sd_configs: [{files: []}, {files: [a.txt]}]", Path::new("")).expect_err("wrong");
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn follows_files_as_they_come_change_and_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut discovery = discovery(folder.path(), "t*.json", "1h");
        assert!(!discovery.look());
        let one = folder.path().join("t1.json");
        fs::write(&one, r#"[{"targets": ["a:1", "b:1"], "labels": {"env": "\u0078"}}]"#).expect("writes");
        fs::write(folder.path().join("other.json"), "[]").expect("writes");
        assert!(discovery.look());
        assert_eq!(addresses(&discovery), ["a:1", "b:1"]);
        let labels = discovery.groups().next().expect("a group").labels.clone();
        assert_eq!(labels.get("env"), Some("x"));
        assert_eq!(labels.get(FILE_PATH_LABEL), one.to_str());
        assert!(!discovery.look());
        fs::write(&one, r#"[{"targets": ["c:12345"]}]"#).expect("writes");
        assert!(discovery.look());
        assert_eq!(addresses(&discovery), ["c:12345"]);
        fs::remove_file(&one).expect("removes");
        assert!(discovery.look());
        assert_eq!(addresses(&discovery), [""; 0]);
        assert_eq!(discovery.take_read_errors(), 0);
    }

    #[test]
    fn a_broken_file_keeps_its_targets() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, good, bad) in [
            (
                "x.json",
                r#"[{"targets": ["a:1"]}]"#,
                vec!["[", "{}", "[1]", r#"[{"targets": [1]}]"#, r#"[{"target": []}]"#],
            ),
            ("x.yml", "- targets: ['a:1']\n", vec!["[", "a: 1", "- 1", "- targets: [[]]", "- target: []"]),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, good).expect("writes");
            let mut discovery = discovery(folder.path(), name, "1h");
            assert!(discovery.look());
            for (round, bad) in bad.iter().enumerate() {
                fs::write(&path, bad).expect("writes");
                // As if the clock of the file system were too coarse to tell.
                discovery.files.values_mut().for_each(|f| f.signature = None);
                assert!(!discovery.look(), "{bad}");
                assert_eq!(addresses(&discovery), ["a:1"], "{bad}");
                assert_eq!(discovery.take_read_errors(), 1, "{round}");
            }
        }
    }
}

//! `highwater check rules`, as `promtool check rules`: every problem of every file, and what may not be meant.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use config::Problems;
use promql::Engine;
use rules::{GroupDefaults, RuleFile, expand_pattern};

use super::lint;
use crate::features::FeatureArgs;

/// The exit code for files that are valid and have something that may not be meant, as promtool's.
const LINT_FAILED: u8 = 3;
/// A longer text on standard input is refused, as a file of this size is.
const MAX_INPUT_BYTES: u64 = 16 << 20;

/// What to look for beside mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lint {
    /// Everything below
    All,
    /// Rules for the same series or alerts, in whatever groups of a file
    DuplicateRules,
    /// Nothing
    None,
}

#[derive(Debug, Args)]
pub struct RulesArgs {
    /// Rule files, or patterns as 'rules/*.yml'; "-" or none at all: standard input
    pub files: Vec<PathBuf>,
    /// What to look for beside mistakes; it is told, and changes the exit code only with --lint-fatal
    #[arg(long, value_enum, default_value = "duplicate-rules", value_name = "WHAT")]
    pub lint: Lint,
    /// Exit with 3 when --lint finds something
    #[arg(long)]
    pub lint_fatal: bool,
    #[command(flatten)]
    pub features: FeatureArgs,
}

/// Where rules come from.
enum Source {
    Input,
    File(PathBuf),
}

/// What came of one source.
enum Verdict {
    /// How many rules it has, and what may not be meant.
    Valid(usize, Vec<String>),
    Invalid(Problems),
}

/// Checks all sources, each to its end. 1: something is wrong. 3: nothing is wrong, but --lint-fatal and something is odd.
pub fn run(args: &RulesArgs, engine: &Engine) -> Result<ExitCode> {
    let mut input = io::stdin().lock();
    check(args, engine, &mut input, &mut io::stdout().lock(), &mut io::stderr().lock())
}

fn check(
    args: &RulesArgs,
    engine: &Engine,
    input: &mut dyn Read,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<ExitCode> {
    let (mut invalid, mut odd) = (false, false);
    for source in sources(&args.files) {
        let source = match source {
            Ok(source) => source,
            Err(problem) => {
                writeln!(err, "{problem}")?;
                invalid = true;
                continue;
            }
        };
        let name = match &source {
            Source::Input => "standard input".to_owned(),
            Source::File(path) => path.display().to_string(),
        };
        writeln!(out, "Checking {name}")?;
        match verdict(&source, args.lint, engine, input)? {
            Verdict::Invalid(problems) => {
                invalid = true;
                writeln!(err, "  FAILED:\n{problems}")?;
            }
            Verdict::Valid(rules, findings) => {
                odd |= !findings.is_empty();
                findings.iter().try_for_each(|finding| writeln!(err, "  warning: {name}: {finding}"))?;
                writeln!(out, "  SUCCESS: {rules} rules found")?;
            }
        }
        writeln!(out)?;
    }
    Ok(if invalid {
        ExitCode::FAILURE
    } else if odd && args.lint_fatal {
        ExitCode::from(LINT_FAILED)
    } else {
        ExitCode::SUCCESS
    })
}

fn sources(files: &[PathBuf]) -> Vec<Result<Source, String>> {
    if files.is_empty() {
        return vec![Ok(Source::Input)];
    }
    let mut sources = Vec::new();
    for file in files {
        if file == Path::new("-") {
            sources.push(Ok(Source::Input));
            continue;
        }
        match expand_pattern(file) {
            Ok(found) if found.is_empty() => sources.push(Err(format!("{}: no file matches", file.display()))),
            Ok(found) => sources.extend(found.into_iter().map(|path| Ok(Source::File(path)))),
            Err(problem) => sources.push(Err(problem)),
        }
    }
    sources
}

fn verdict(source: &Source, look_for: Lint, engine: &Engine, input: &mut dyn Read) -> Result<Verdict> {
    let defaults = GroupDefaults::default();
    let loaded = match source {
        Source::File(path) => RuleFile::load(path, engine, &defaults),
        Source::Input => {
            let mut text = String::new();
            let read = input.take(MAX_INPUT_BYTES + 1).read_to_string(&mut text);
            let read = read.context("cannot read standard input")?;
            if read as u64 > MAX_INPUT_BYTES {
                return Ok(Verdict::Invalid(Problems::of_file(Path::new("-"), "more than 16 MiB; split it")));
            }
            RuleFile::parse(Path::new("-"), &text, engine, &defaults)
        }
    };
    Ok(match loaded {
        Err(problems) => Verdict::Invalid(problems),
        Ok(file) => {
            let rules = file.groups.iter().map(|group| group.rules.len()).sum();
            let findings = if look_for == Lint::None { Vec::new() } else { lint::duplicates(&file.groups) };
            Verdict::Valid(rules, findings)
        }
    })
}

#[cfg(test)]
mod tests {
    use promql::EngineOptions;

    use super::*;

    const GOOD: &str =
        "groups:\n- name: a\n  rules:\n  - {record: 'x:y', expr: sum(up)}\n  - {alert: D, expr: up == 0}\n";
    const TWICE: &str = "groups:\n- name: a\n  rules:\n  - {record: 'x:y', expr: sum(up), labels: {a: b}}\n- name: b\n  rules:\n  \
                         - {record: 'x:y', expr: 1, labels: {a: b}}\n  - {record: 'x:y', expr: 1}\n";
    const BAD: &str = "groups:\n- name: a\n  rules:\n  - record: x:y\n    expr: sum(up\n  - alert: D\n    expr: up\n    fro: 1m\n\
                       - name: a\n";

    /// Exit code, standard output, standard error.
    fn checked(arguments: &[&str], input: &str) -> (String, String, String) {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: RulesArgs,
        }
        let line = <Line as clap::Parser>::parse_from([&["check"], arguments].concat());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let engine = Engine::new(EngineOptions::default());
        let code = check(&line.args, &engine, &mut input.as_bytes(), &mut out, &mut err).expect("runs");
        let text = |bytes| String::from_utf8(bytes).expect("is text");
        (format!("{code:?}"), text(out), text(err))
    }

    fn code(code: u8) -> String {
        format!("{:?}", ExitCode::from(code))
    }

    #[test]
    fn standard_input() {
        for arguments in [&[][..], &["-"]] {
            let want = "Checking standard input\n  SUCCESS: 2 rules found\n\n".to_owned();
            assert_eq!(checked(arguments, GOOD), (code(0), want, String::new()));
        }
        let (exit, _, err) = checked(&[], BAD);
        assert_eq!(exit, code(1));
        for want in ["-:5:", "group \"a\", rule 1, \"x:y\"", "-:8:", "did you mean \"for\"?", "-:9:", "used twice"] {
            assert!(err.contains(want), "{want}: {err}");
        }
    }

    #[test]
    fn what_may_not_be_meant() {
        let (exit, out, err) = checked(&[], TWICE);
        assert_eq!((exit, out.contains("SUCCESS: 3 rules found")), (code(0), true));
        let want = "x:y{a=\"b\"} is recorded 2 times: line 4 in group \"a\", line 7 in group \"b\"";
        assert!(err.contains(want), "{err}");
        assert_eq!(checked(&["--lint-fatal"], TWICE).0, code(3));
        assert_eq!(checked(&["--lint-fatal", "--lint=none"], TWICE).0, code(0));
        assert_eq!(checked(&["--lint-fatal", "--lint=all"], GOOD).0, code(0));
        assert_eq!(checked(&["--lint-fatal"], BAD).0, code(1));
    }

    #[test]
    fn files_and_patterns() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [("a.yml", GOOD), ("b.yml", BAD), ("c.txt", GOOD)] {
            std::fs::write(folder.path().join(name), text).expect("writes");
        }
        let at = |name: &str| folder.path().join(name).display().to_string();
        let (exit, out, err) = checked(&[&at("*.yml"), &at("none*"), &at("missing.yml"), &at("c.txt")], "");
        assert_eq!(exit, code(1));
        assert_eq!((out.matches("Checking").count(), out.matches("SUCCESS").count()), (3, 2), "{out}");
        for want in ["no file matches", "cannot read", "FAILED"] {
            assert!(err.contains(want), "{want}: {err}");
        }
        assert_eq!(checked(&[&at("a.yml"), &at("c.txt")], "").0, code(0));
    }
}

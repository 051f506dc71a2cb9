//! `highwater check`: every problem of every file, before a process depends on it.

use std::path::PathBuf;

use anyhow::{Result, bail};
use config::Problems;
use promql::{Engine, EngineOptions};
use rules::{GroupDefaults, RuleFile};
use tier::Settings;

use crate::cli::CheckCommand;

/// Checks the files; what is fine goes to standard output, what is not to standard error.
pub fn run(command: CheckCommand) -> Result<()> {
    let engine = Engine::new(EngineOptions::default());
    match command {
        CheckCommand::Config { files } => check(files, |file| {
            let settings = Settings::load(file, &engine)?;
            let rules: usize = settings.groups.iter().map(|g| g.rules.len()).sum();
            let summary = format!(
                "{} scrape jobs, {} destinations, {rules} rules in {} groups",
                settings.scrape.len(),
                settings.remote_write.len(),
                settings.groups.len()
            );
            Ok((summary, settings.warnings))
        }),
        CheckCommand::Rules { files } => check(files, |file| {
            let loaded = RuleFile::load(file, &engine, &GroupDefaults::default())?;
            let rules: usize = loaded.groups.iter().map(|g| g.rules.len()).sum();
            Ok((format!("{rules} rules in {} groups", loaded.groups.len()), loaded.warnings))
        }),
        CheckCommand::Alerts { files } => check(files, |file| {
            let loaded = alerts::Config::load(file)?;
            let names: Vec<&str> = loaded.receivers().collect();
            Ok((format!("receivers {}", names.join(", ")), Vec::new()))
        }),
    }
}

fn check(files: Vec<PathBuf>, load: impl Fn(&PathBuf) -> Result<(String, Vec<String>), Problems>) -> Result<()> {
    let mut broken = 0;
    for file in &files {
        match load(file) {
            Ok((summary, warnings)) => {
                warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
                println!("{}: fine: {summary}", file.display());
            }
            Err(problems) => {
                eprintln!("{problems}");
                broken += 1;
            }
        }
    }
    if broken > 0 {
        bail!("{broken} of {} files have problems", files.len());
    }
    Ok(())
}

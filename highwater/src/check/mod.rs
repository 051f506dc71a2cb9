//! `highwater check`: every problem of every file, before a process depends on it.

mod lint;
mod rule_files;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use config::Problems;
use promql::{Engine, EngineOptions};
use tier::Settings;

use crate::cli::CheckCommand;
use crate::features::FeatureArgs;
pub use rule_files::RulesArgs;

/// Checks the files; what is fine goes to standard output, what is not to standard error.
pub fn run(command: CheckCommand) -> Result<ExitCode> {
    match command {
        CheckCommand::Config { files, features } => {
            let engine = engine(&features);
            check(files, |file| {
                let settings = Settings::load(file, &engine)?;
                let rules: usize = settings.groups.iter().map(|g| g.rules.len()).sum();
                let summary = format!(
                    "{} scrape jobs, {} destinations, {rules} rules in {} groups",
                    settings.scrape.len(),
                    settings.remote_write.len(),
                    settings.groups.len()
                );
                Ok((summary, settings.warnings))
            })?;
        }
        CheckCommand::Rules(args) => return rule_files::run(&args, &engine(&args.features)),
        CheckCommand::Alerts { files } => check(files, |file| {
            let loaded = alerts::Config::load(file)?;
            let names: Vec<&str> = loaded.receivers().collect();
            Ok((format!("receivers {}", names.join(", ")), Vec::new()))
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

fn engine(features: &FeatureArgs) -> Engine {
    let syntax = features.syntax(|name| eprintln!("warning: there is no feature {name:?}"));
    Engine::new(EngineOptions { syntax, ..EngineOptions::default() })
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

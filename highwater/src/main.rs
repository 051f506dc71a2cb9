//! The one binary: reads the command line and hands over to a role, the demo, the simulator, the checks,
//! the questions or the commands on stores.

mod check;
mod cli;
mod delivery;
mod demo;
mod features;
mod moment;
mod query;
mod query_limits;
mod remote_read;
mod roles;
mod simulate;
mod storage;
mod table;
mod tsdb;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Edge(args) => roles::run_tier::<edge::Edge>(args.listen_address, args.tier),
        Command::Cascade(args) => roles::run_tier::<cascade::Cascade>(args.listen_address, args.tier),
        Command::Central(args) => roles::run_tier::<central::Central>(args.listen_address, args.tier),
        Command::Alerts(args) => roles::run_alerts(args),
        Command::Demo(args) => demo::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Query(command) => query::run(command),
        Command::Check(command) => return finish(check::run(command)),
        Command::Tsdb(command) => tsdb::run(command),
    };
    finish(result.map(|()| ExitCode::SUCCESS))
}

/// The exit code, and what went wrong.
fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            // Straight to standard error: a bad start must be readable whatever the log format.
            eprintln!("highwater: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, each said once: many of our errors quote their cause already.
fn told(error: &anyhow::Error) -> String {
    let mut out = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if out.is_empty() {
            out = cause;
        } else if !out.contains(&cause) {
            out.push_str(": ");
            out.push_str(&cause);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let cases = [
            (anyhow!("no room"), "no room"),
            (anyhow!("no room").context("cannot write"), "cannot write: no room"),
            (anyhow!("no room").context("cannot write: no room; make some"), "cannot write: no room; make some"),
            (anyhow!("c").context("b: c").context("a"), "a: b: c"),
        ];
        for (error, want) in cases {
            assert_eq!(told(&error), want);
        }
    }
}

//! The one binary: reads the command line and hands over to a role, the demo, the simulator or the checks.

mod check;
mod cli;
mod demo;
mod roles;
mod simulate;

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
        Command::Check(command) => check::run(command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Straight to standard error: a bad start must be readable whatever the log format.
            eprintln!("highwater: {error:#}");
            ExitCode::FAILURE
        }
    }
}

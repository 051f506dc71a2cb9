//! The processes that the demo starts, and how they end: by the demo, in order, or with it.
//!
//! Every child is started through `highwater demo --tied-to PID -- PROGRAM`, which asks the kernel to end it should
//! the demo die without a chance to clean up, and then becomes PROGRAM. Each has a process group of its own, so that
//! Ctrl-C in a terminal reaches the demo alone.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// How long the processes of one stage may take to end before they are killed: queues drain for up to 10 s.
const GRACE: Duration = Duration::from_secs(15);
/// How much of a log is shown when its process died.
const LAST_LINES: usize = 12;

/// In the order in which they are stopped: whoever sends before whoever receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Exporter,
    Edge,
    Cascade,
    Central,
    Router,
}

impl Stage {
    pub const ALL: [Self; 5] = [Self::Exporter, Self::Edge, Self::Cascade, Self::Central, Self::Router];
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Program {
    pub name: String,
    pub stage: Stage,
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// Where it runs and where its `log` goes.
    pub folder: PathBuf,
}

struct Running {
    name: String,
    stage: Stage,
    process: Child,
    log: PathBuf,
}

/// Everything that was started. Dropping it kills what still runs.
pub struct Children {
    itself: PathBuf,
    running: Vec<Running>,
}

impl Children {
    pub fn new() -> Result<Self> {
        let itself = std::env::current_exe().context("cannot find the path of this program")?;
        Ok(Self { itself, running: Vec::new() })
    }

    /// The program that plays every role.
    pub fn itself(&self) -> &Path {
        &self.itself
    }

    pub fn count(&self) -> usize {
        self.running.len()
    }

    /// Starts a program. Must be called on the main thread: children are tied to the thread that starts them.
    pub fn start(&mut self, program: &Program) -> Result<()> {
        let log = program.folder.join("log");
        let open = || std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()));
        let output = open()?;
        let errors = output.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
        let process = Command::new(&self.itself)
            .arg("demo")
            .arg(format!("--tied-to={}", std::process::id()))
            .arg("--")
            .args(&program.command)
            .current_dir(&program.folder)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.name))?;
        self.running.push(Running { name: program.name.clone(), stage: program.stage, process, log });
        Ok(())
    }

    /// The first child that ended although nobody asked it to, with the end of its log.
    pub fn dead(&mut self) -> Option<String> {
        self.running.iter_mut().find_map(|child| {
            let status = child.process.try_wait().ok()??;
            Some(format!("{} ended by itself ({status}); its log ends with\n{}", child.name, last_lines(&child.log)))
        })
    }

    /// Stops everything, stage by stage; names what had to be killed.
    pub async fn stop(&mut self) -> Vec<String> {
        let mut killed = Vec::new();
        for stage in Stage::ALL {
            let (mut now, later): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.running).into_iter().partition(|c| c.stage == stage);
            self.running = later;
            now.iter().for_each(|child| child.signal(Signal::TERM));
            let deadline = tokio::time::Instant::now() + GRACE;
            for child in &mut now {
                if tokio::time::timeout_at(deadline, child.process.wait()).await.is_err() {
                    killed.push(child.name.clone());
                    // It may have ended this moment; either way it is gone afterwards.
                    let _ = child.process.kill().await;
                }
            }
        }
        killed
    }
}

impl Running {
    /// Signals the process unless it has been waited for, so that the number cannot be somebody else's.
    fn signal(&self, signal: Signal) {
        let pid = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Fails only where it has ended, which is what we want.
            let _ = kill_process(pid, signal);
        }
    }
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|line| format!("    {line}\n")).collect()
}

/// What a child does first: ties its life to the demo's and becomes the program.
pub fn become_tied(parent: u32, command: &[OsString]) -> Result<Infallible> {
    let Some((program, arguments)) = command.split_first() else { bail!("no program is given after --") };
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .context("cannot tie the process to its parent")?;
    if std::os::unix::process::parent_id() != parent {
        bail!("the demo ended before its child began");
    }
    let error = std::process::Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", Path::new(program).display()))
}

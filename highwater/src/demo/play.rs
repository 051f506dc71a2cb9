//! The demo from its first process to its last word.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use fleet_sim::Fleet;
use runtime::{ServerLimits, Supervisor, bind, serve};

use super::api::Api;
use super::children::Children;
use super::fault::Travel;
use super::links::{Kind, Link, Links};
use super::messages::{Channel, Messages};
use super::plan::{Exporter, Plan};
use super::ports::Ports;
use super::report::{Report, rounded};
use super::screen::Screen;
use super::summary::{Snapshot, Watcher};
use super::{DemoArgs, Signals, greeting};

/// Whoever is not healthy by then is reported.
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at links that are not healthy yet, and at an alert that travels.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Between two summaries on a terminal, and elsewhere.
const DRAW_EVERY: Duration = Duration::from_secs(2);
const PRINT_EVERY: Duration = Duration::from_secs(10);
/// Links that falter at the very end are looked at again for this long: a scrape can be late by an interval.
const SETTLE_WITHIN: Duration = Duration::from_secs(6);
/// A demo that is prepared or running.
pub struct Play {
    args: DemoArgs,
    started: Instant,
    screen: Screen,
    api: Api,
    fleet: Fleet,
    simulator: SocketAddr,
    messages: Messages,
    plan: Arc<Plan>,
    links: Arc<Links>,
    children: Children,
    watcher: Watcher,
    latest: Snapshot,
    travel: Option<Travel>,
    report: Report,
    /// Nobody else gets these ports while the demo runs.
    _ports: Ports,
}

impl Play {
    /// Starts what lives in this process and writes every file; no child runs yet.
    pub async fn prepare(args: &DemoArgs, supervisor: &Supervisor, folder: &Path, mut screen: Screen) -> Result<Self> {
        let started = Instant::now();
        let fleet = Fleet::new(args.fleet())?;
        let listener = bind("127.0.0.1:0").await?;
        let simulator = listener.local_addr().context("the simulator has no address")?;
        serve(supervisor, "simulator", listener, fleet.router(), ServerLimits::default());
        let messages = Messages::start(supervisor).await?;
        let mut ports = Ports::default();
        let exporters = if args.no_exporters { Vec::new() } else { Exporter::find(&mut ports)? };
        let plan = Arc::new(Plan::new(&fleet, &mut ports, folder, exporters)?);
        plan.write(&fleet, simulator, &messages)?;
        let api = Api::new()?;
        let links = Arc::new(Links::new(api.clone(), plan.clone(), simulator, &messages.channels())?);
        screen.say(greeting::introduction(args, &plan));
        Ok(Self {
            args: args.clone(),
            started,
            screen,
            watcher: Watcher::new(api.clone()),
            api,
            fleet,
            simulator,
            messages,
            plan,
            links,
            children: Children::new()?,
            latest: Snapshot::default(),
            travel: None,
            report: Report::default(),
            _ports: ports,
        })
    }

    /// Runs to the end: of the time that was given, or of a process that should not have ended.
    pub async fn run(&mut self) -> Result<()> {
        for program in self.plan.programs(self.children.itself()) {
            self.children.start(&program)?;
        }
        self.report.processes = self.children.count();
        self.until_healthy().await?;
        self.screen.say(greeting::addresses(&self.plan, self.simulator, &self.messages.page_url()));
        self.watch().await?;
        self.conclude().await;
        Ok(())
    }

    async fn until_healthy(&mut self) -> Result<()> {
        let links = self.links.clone();
        let mut broken: Vec<(&Link, String)> = links.all.iter().map(|link| (link, String::new())).collect();
        let mut said = Vec::new();
        while !broken.is_empty() {
            let waiting: Vec<&Link> = broken.iter().map(|(link, _)| *link).collect();
            broken = look_at(&links, waiting, None).await;
            self.alive()?;
            for kind in Kind::ALL {
                if !said.contains(&kind) && broken.iter().all(|(link, _)| link.kind != kind) {
                    said.push(kind);
                    let count = links.all.iter().filter(|link| link.kind == kind).count();
                    self.screen.say(format!("  {:5.1} s  {kind} ({count})", self.seconds()));
                }
            }
            if broken.is_empty() {
                // Once more, all at the same time: one may have broken while others were waited for.
                broken = look_at(&links, links.all.iter().collect(), None).await;
            } else if self.started.elapsed() > HEALTHY_WITHIN {
                return Err(self.unhealthy(broken));
            } else {
                self.show_progress(&broken);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        let seconds = self.seconds();
        self.screen.draw(&[]);
        self.report.seconds_to_healthy = Some(rounded(seconds));
        self.screen.say(format!("  {seconds:5.1} s  all links healthy ({} links)", links.all.len()));
        Ok(())
    }

    fn show_progress(&mut self, broken: &[(&Link, String)]) {
        if !self.screen.is_live() {
            return;
        }
        let mut lines = vec![format!("  {:5.1} s  waiting for {} links", self.seconds(), broken.len())];
        lines.extend(broken.iter().take(3).map(|(link, problem)| format!("           {}: {problem}", link.name)));
        self.screen.draw(&lines);
    }

    fn unhealthy(&mut self, broken: Vec<(&Link, String)>) -> anyhow::Error {
        let mut said = format!("{} links are not healthy after {} s:", broken.len(), HEALTHY_WITHIN.as_secs());
        for (link, problem) in broken {
            said.push_str(&format!("\n  {}: {problem}", link.name));
            self.report.set_link(link.name.clone(), Err(problem));
        }
        said.push_str("\nkeep the logs with --dir=FOLDER to see why");
        anyhow!(said)
    }

    async fn watch(&mut self) -> Result<()> {
        let every = if self.screen.is_live() { DRAW_EVERY } else { PRINT_EVERY };
        let fault_at =
            self.started + self.args.duration.map_or(self.args.fault_after, |d| self.args.fault_after.min(d / 2));
        let end = self.args.duration.map(|duration| self.started + duration);
        let mut draw_at = Instant::now();
        while end.is_none_or(|end| Instant::now() < end) {
            self.alive()?;
            if self.travel.is_none() && Instant::now() >= fault_at {
                let travel = Travel::begin(&self.fleet, &self.plan)?;
                self.screen.say(format!("\nfault: {}", travel.describe()));
                self.travel = Some(travel);
            }
            self.follow().await?;
            if Instant::now() >= draw_at {
                draw_at = Instant::now() + every;
                self.show_summary().await;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Follows the alert; ends the fault once everybody was told.
    async fn follow(&mut self) -> Result<()> {
        let Some(travel) = &mut self.travel else { return Ok(()) };
        for line in travel.look(&self.api, &self.plan, &self.messages).await {
            self.screen.say(line);
        }
        if travel.is_delivered() && !travel.is_lifted() {
            travel.lift(&self.fleet)?;
            self.screen.say(format!("delivered on every channel; {} ends", travel.describe()));
        }
        Ok(())
    }

    async fn show_summary(&mut self) {
        // Whoever does not answer now is found by the links; what was seen before stays.
        if let Ok(snapshot) = self.watcher.look(&self.plan, &self.messages).await {
            self.latest = snapshot;
        }
        let seconds = self.seconds();
        if !self.screen.is_live() {
            self.screen.say(format!("  {seconds:5.1} s  {}", self.latest.line()));
            return;
        }
        let mut lines: Vec<_> = self.latest.lines().iter().map(|(name, value)| format!("{name:<10} {value}")).collect();
        let next = match &self.travel {
            None => "a fault follows; Ctrl-C stops everything".to_owned(),
            Some(travel) if travel.is_lifted() => "the fault is over; Ctrl-C stops everything".to_owned(),
            Some(travel) => format!("{} for {:.0} s", travel.describe(), travel.seconds()),
        };
        lines.insert(0, format!("{:<10} {seconds:.0} s; {next}", "demo"));
        self.screen.draw(&lines);
    }

    /// The last look: every link, every channel.
    async fn conclude(&mut self) {
        let links = self.links.clone();
        let excused = self.travel.as_ref().map(|travel| travel.cluster.clone());
        let deadline = Instant::now() + SETTLE_WITHIN;
        let mut broken = look_at(&links, links.all.iter().collect(), excused.as_deref()).await;
        while !broken.is_empty() && Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
            let waiting = broken.into_iter().map(|(link, _)| link).collect();
            broken = look_at(&links, waiting, excused.as_deref()).await;
        }
        for link in &links.all {
            let problem = broken.iter().find(|(other, _)| other.name == link.name).map(|(_, problem)| problem.clone());
            self.report.set_link(link.name.clone(), problem.map_or(Ok(()), Err));
        }
        for channel in Channel::ALL {
            let told = self.travel.as_ref().is_some_and(|travel| travel.arrived.contains_key(&channel));
            let why = || match self.messages.refusals(channel).pop() {
                Some(refusal) => format!("no message told of the fault; refused: {refusal}"),
                None => "no message told of the fault".to_owned(),
            };
            self.report.set_link(format!("routers -> {channel}"), if told { Ok(()) } else { Err(why()) });
        }
        self.show_summary().await;
    }

    /// Somebody ended the demo; that is a failure only before it was healthy.
    pub fn interrupted(&mut self) -> Result<()> {
        if self.report.seconds_to_healthy.is_none() {
            bail!("stopped before all links were healthy");
        }
        Ok(())
    }

    /// Stops every child, in order; a second signal kills them at once.
    pub async fn stop(&mut self, signals: &mut Signals) {
        self.screen.keep();
        self.screen.say(format!("\nstopping {} processes", self.children.count()));
        let killed = tokio::select! {
            killed = self.children.stop() => killed,
            () = signals.stop() => vec!["whatever still ran".to_owned()],
        };
        let how = if killed.is_empty() { String::new() } else { format!("; killed: {}", killed.join(", ")) };
        self.screen.say(format!("stopped{how}"));
    }

    /// What was found. Children that still run are killed.
    pub fn into_report(mut self) -> Report {
        self.report.set_snapshot(&self.latest);
        if let Some(travel) = &self.travel {
            self.report.set_travel(travel);
        }
        self.report
    }

    fn alive(&mut self) -> Result<()> {
        match self.children.dead() {
            None => Ok(()),
            Some(death) => Err(anyhow!(death)),
        }
    }

    fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

/// Those of the links that do not hold, with what is wrong.
async fn look_at<'a>(links: &Links, which: Vec<&'a Link>, excused: Option<&str>) -> Vec<(&'a Link, String)> {
    let mut broken = Vec::new();
    for link in which {
        if let Err(problem) = links.check(link, excused).await {
            broken.push((link, format!("{problem:#}")));
        }
    }
    broken
}

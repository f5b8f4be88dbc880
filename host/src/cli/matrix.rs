//! `fewbit matrix`: every model on every target, measured where it is missing or stale.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use super::kept::Kept;
use super::launch::LoadArgs;
use super::{launch, measured};
use crate::inspect::sums;
use crate::job::Outcome;
use crate::matrix::depends::Surroundings;
use crate::matrix::known::History;
use crate::matrix::plan::{self, Choice, Planned};
use crate::matrix::run::{Event, Matrix as Running};
use crate::matrix::settings::{Profile, Settings, Verdict};
use crate::matrix::subject::{self, Built, Subject};
use crate::pattern::matches;
use crate::results::record::{STORED, now_us};
use crate::store::Store;
use crate::target::Target;

/// Measure models on targets: what is missing, stale, failed or flaky; what is fresh is left as it is.
///
/// Each cell is a model in a format with a task and its sizes on a target. It is held against its reference first, in fresh
/// processes with fresh browser profiles, and timed only if that holds. Each attempt is kept in the results at once, so that
/// a run that is stopped goes on with the next. A cell is stale where what it hangs on is another: its kernels or graph code,
/// the model's files, the browser, its driver or flags, the adapters, or a more thorough profile. Exit code 1 where a cell
/// ended otherwise than expected.
#[derive(Args)]
pub(crate) struct Matrix {
    /// Names from `fewbit models list`, folders, or patterns with * of either; several with commas. Without it, what the
    /// manifest has.
    #[arg(long, value_delimiter = ',')]
    models: Vec<String>,
    /// Targets or patterns such as chrome:* (see `fewbit run --help`); several with commas. Without it, all.
    #[arg(long, value_delimiter = ',')]
    targets: Vec<String>,
    /// Formats of the weights; `stored` is what a model's files have.
    #[arg(long, value_delimiter = ',', default_value = STORED)]
    formats: Vec<String>,
    /// Texts at a time, for tasks that have some; without it, the profile's.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=256))]
    batch: Vec<u32>,
    /// Tokens of each prompt or text; without it, the profile's.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=32768))]
    sequence: Vec<u32>,
    /// How thoroughly: smoke, quick or full.
    #[arg(long, default_value = "quick")]
    profile: String,
    /// Print what would run, why, and about how long it would take.
    #[arg(long)]
    dry_run: bool,
    /// One JSON object: of the plan with --dry-run, else of the run.
    #[arg(long)]
    json: bool,
    /// Only priority models on priority targets.
    #[arg(long)]
    priority_only: bool,
    /// Only cells that were never measured to their end.
    #[arg(long, conflicts_with = "force")]
    missing_only: bool,
    /// Fresh cells too.
    #[arg(long)]
    force: bool,
    /// Results older than this are stale.
    #[arg(long, value_name = "DAYS")]
    refresh_older_than: Option<f64>,
    /// The most informative cells that are estimated to fit into so many minutes.
    #[arg(long, value_name = "MINUTES")]
    budget: Option<f64>,
    /// Part I of N, such as 1/4, by the names of cells.
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<(u32, u32)>,
    /// Measure the two cells that are chosen in turn, so many rounds of A-B-B-A, for `fewbit compare`.
    #[arg(long, value_name = "ROUNDS", value_parser = clap::value_parser!(u32).range(1..=100))]
    interleave: Option<u32>,
    /// Fresh processes, from the profile's number on (3 at least, 20 at most), until the 95 % interval of the main number
    /// lies within so many percent of it.
    #[arg(long, value_name = "PERCENT", value_parser = percent, conflicts_with = "interleave")]
    sequential: Option<f64>,
    #[command(flatten)]
    load: LoadArgs,
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim().parse() {
        Ok(percent) if percent > 0.0 && percent < 100.0 => Ok(percent),
        _ => Err("a number between 0 and 100".into()),
    }
}

fn shard(text: &str) -> Result<(u32, u32), String> {
    let parts = text.split_once('/');
    let parts = parts.and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parts {
        Some((i, n)) if (1..=n).contains(&i) => Ok((i, n)),
        _ => Err("I/N with 1 ≤ I ≤ N, such as 1/4".into()),
    }
}

fn duration(amount: f64, unit: f64, name: &str) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(amount * unit).with_context(|| format!("--{name} {amount}"))
}

impl Matrix {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let settings = Settings::built_in().context("matrix.json")?;
        let names: Vec<&str> = settings.profiles.keys().map(String::as_str).collect();
        let profile = settings.profiles.get(&self.profile).cloned();
        let profile = profile.with_context(|| {
            format!(
                "no profile `{}`: there are {}",
                self.profile,
                names.join(", ")
            )
        })?;
        let store = Store::open()?;
        let subjects = self.subjects(&store)?;
        let targets = self.targets()?;
        let or = |given: &[u32], otherwise: &[u32]| match given.is_empty() {
            true => otherwise.to_vec(),
            false => given.to_vec(),
        };
        let cells = plan::cells(
            &subjects,
            &targets,
            &self.formats,
            &or(&self.batch, &profile.batch),
            &or(&self.sequence, &profile.sequence),
        );
        let kept = Kept::open(false).await?;
        let results = kept.results().context("this build keeps no results")?;
        let run = measured::run("matrix");
        let history = {
            let (results, run) = (results.clone(), run.clone());
            tokio::task::spawn_blocking(move || History::read(&results, &run)).await??
        };
        let named = (self.profile.clone(), profile.clone());
        let surroundings = Surroundings::look(
            store.home(),
            &cells,
            named,
            &self.load.browser_flag,
            self.load.remote()?.map(|r| r.shown()),
        );
        let rank = |name: &str| settings.profiles.get(name).map_or(0, |p: &Profile| p.rank);
        let older_than = self
            .refresh_older_than
            .map(|days| duration(days, 86_400.0, "refresh-older-than"))
            .transpose()?;
        let mut built: HashMap<&str, (Built, String)> = HashMap::new();
        for subject in &subjects {
            built.insert(&subject.name, self.look(&store, subject, &kept).await?);
        }
        let model_of = |name: &str| subjects.iter().find(|s| s.name == name);
        let mut plan: Vec<Planned> = cells
            .into_iter()
            .map(|cell| {
                let (built, sum) = &built[cell.model.as_str()];
                let depends = surroundings.of(&cell, built, sum);
                let known = history.cells.get(&cell.name());
                let changed = |then: &_| surroundings.changed(then, &depends, rank);
                let (state, why) = plan::state(known, changed, older_than, now_us());
                Planned {
                    model: model_of(&cell.model).map_or_else(String::new, |s| s.model.clone()),
                    estimate: plan::estimate(&cell, &history, &profile),
                    cell,
                    depends,
                    state,
                    why,
                    run: false,
                }
            })
            .collect();
        let choice = Choice {
            priority_only: self.priority_only,
            missing_only: self.missing_only,
            force: self.force,
            older_than,
            budget: self
                .budget
                .map(|minutes| duration(minutes, 60.0, "budget"))
                .transpose()?,
            shard: self.shard,
        };
        plan::choose(&mut plan, &choice, &settings);
        if self.dry_run {
            self.tell_plan(&plan, &settings);
            return Ok(ExitCode::SUCCESS);
        }
        let to_run = plan.iter().filter(|p| p.run).count();
        let matrix = Running {
            results,
            run,
            settings,
            profile,
            within: self.sequential.map(|percent| percent / 1e2),
            surroundings,
            browser_flags: self.load.browser_flag.clone(),
            webdriver: self.load.webdriver.clone(),
            capabilities: self.load.capabilities.clone(),
            window: self.load.window,
            failures: Some(store.home().join("failures")),
        };
        let watch = Watch::new(to_run, self.json);
        let summary = match (self.interleave, plan.as_slice()) {
            (None, plan) => matrix.run(plan, &|event| watch.on(event)).await,
            (Some(rounds), [a, b]) => matrix.pair([a, b], rounds, &|event| watch.on(event)).await,
            (Some(_), plan) => bail!(
                "--interleave is for two cells, and these models, targets, formats and sizes make {}",
                plan.len()
            ),
        };
        watch.clear();
        let summary = summary?;
        if self.json {
            let unexpected: Vec<_> = summary
                .unexpected
                .iter()
                .map(|(cell, outcome, reason)| {
                    json!({"cell": cell, "outcome": outcome, "reason": reason})
                })
                .collect();
            let all = json!({
                "run": matrix.run.run,
                "ran": to_run,
                "fresh": plan.len() - to_run,
                "outcomes": summary.outcomes,
                "unexpected": unexpected,
            });
            println!("{all}");
        } else {
            let counts: Vec<String> = summary
                .outcomes
                .iter()
                .map(|(name, count)| format!("{count} {name}"))
                .collect();
            let counts = match counts.is_empty() {
                true => String::new(),
                false => format!(": {}", counts.join(", ")),
            };
            println!("{to_run} of {} cells ran{counts}", plan.len());
            for (cell, outcome, reason) in &summary.unexpected {
                println!("unexpected: {cell}: {}: {reason}", outcome.name());
            }
        }
        Ok(ExitCode::from(u8::from(!summary.unexpected.is_empty())))
    }

    fn subjects(&self, store: &Store) -> anyhow::Result<Vec<Subject>> {
        let all = vec!["*".to_owned()];
        let patterns = if self.models.is_empty() {
            &all
        } else {
            &self.models
        };
        let subjects = subject::subjects(store, patterns)?;
        let mut names = std::collections::HashMap::new();
        for subject in &subjects {
            if let Some(other) = names.insert(&subject.name, &subject.model) {
                bail!(
                    "{other} and {} would both be called `{}` in the results",
                    subject.model,
                    subject.name
                );
            }
        }
        Ok(subjects)
    }

    fn targets(&self) -> anyhow::Result<Vec<Target>> {
        let all = Target::all();
        if self.targets.is_empty() {
            return Ok(all);
        }
        let mut chosen: Vec<Target> = Vec::new();
        for pattern in &self.targets {
            if !pattern.contains('*') {
                chosen.push(pattern.parse()?);
                continue;
            }
            let found = all.iter().filter(|t| matches(pattern, &t.to_string()));
            let before = chosen.len();
            chosen.extend(found);
            if chosen.len() == before {
                bail!("no target is called `{pattern}`");
            }
        }
        let mut seen = std::collections::HashSet::new();
        chosen.retain(|target| seen.insert(*target));
        Ok(chosen)
    }

    /// The model's files, pulled where they are missing, and what its cells hang on. Nothing is pulled for a dry run.
    async fn look(
        &self,
        store: &Store,
        subject: &Subject,
        kept: &Kept,
    ) -> anyhow::Result<(Built, String)> {
        let entry = store.manifest().find(&subject.model);
        if self.dry_run
            && let Some(entry) = entry
            && store.presence(entry) != crate::store::Presence::Whole
        {
            return Ok((Built::default(), "not pulled".into()));
        }
        let files = launch::resolve(store, &subject.model)?;
        // A reference beside a model is read as a whole before anything runs; other models have to be verified.
        if !crate::verify::folder::FolderReference::is_in(&files.folder) && !self.dry_run {
            kept.require_verified(&files, &subject.model).await?;
        }
        let sum = match entry {
            Some(entry) => {
                let sums = entry.files.iter();
                let lines: String = sums
                    .map(|f| format!("{}  {}\n", f.sha256, f.name))
                    .collect();
                sums::of_text(&lines)
            }
            None => sums::of_all(&sums::sums(&files)?),
        };
        Ok((subject::build(&files), sum))
    }

    fn tell_plan(&self, plan: &[Planned], settings: &Settings) {
        if self.json {
            println!("{}", plan::as_json(plan, settings));
            return;
        }
        for planned in plan {
            let why = planned
                .why
                .as_ref()
                .map_or_else(String::new, |w| format!(": {w}"));
            let seconds = match planned.run {
                true => format!("{:>6.0} s", planned.estimate.as_secs_f64()),
                false => "       –".into(),
            };
            println!(
                "{seconds}  {}  {}{why}",
                planned.cell.name(),
                planned.state.name()
            );
        }
        let running = plan.iter().filter(|p| p.run);
        let total: Duration = running.clone().map(|p| p.estimate).sum();
        println!(
            "{} of {} cells would run, in about {}",
            running.count(),
            plan.len(),
            indicatif::HumanDuration(total)
        );
    }
}

/// Shows what runs, what is left and how long it will take.
struct Watch {
    bar: Option<indicatif::ProgressBar>,
    /// Lines for what is done, where standard output is not for JSON.
    lines: bool,
}

impl Watch {
    fn new(of: usize, json: bool) -> Watch {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = indicatif::ProgressBar::new(of as u64);
            let template = "{spinner} {pos}/{len} {wide_msg}";
            if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Watch { bar, lines: !json }
    }

    fn on(&self, event: Event<'_>) {
        match event {
            Event::Begin { planned, left, .. } => {
                if let Some(bar) = &self.bar {
                    let left = indicatif::HumanDuration(left);
                    bar.set_message(format!("{} (about {left} left)", planned.cell.name()));
                }
            }
            Event::Stage { planned, stage } => {
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("{}: {stage}", planned.cell.name()));
                }
            }
            Event::Done {
                planned,
                attempt,
                verdict,
            } => {
                if let Some(bar) = &self.bar {
                    bar.inc(1);
                }
                let metric = attempt.measurements.iter().find(|m| {
                    ["decode_tokens_per_second", "embed_ms", "real_time_factor"]
                        .contains(&m.metric.as_str())
                });
                let said = match (attempt.outcome, metric) {
                    (Outcome::Pass, Some(m)) => {
                        let p50 = m.quantile(0.5).unwrap_or_default();
                        format!(" {} {p50:.2} {}", m.metric, m.unit)
                    }
                    (Outcome::Pass, None) => String::new(),
                    _ => attempt
                        .reason
                        .as_ref()
                        .map_or_else(String::new, |r| format!(" {r}")),
                };
                let mark = match verdict {
                    Verdict::Fine => "",
                    Verdict::Expected => " (expected)",
                    Verdict::Unexpected => " (unexpected)",
                };
                let line = format!(
                    "{:12} {}{mark}{said}",
                    attempt.outcome.name(),
                    planned.cell.name()
                );
                match (&self.bar, self.lines) {
                    (Some(bar), _) => bar.println(line),
                    (None, true) => println!("{line}"),
                    (None, false) => {}
                }
            }
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

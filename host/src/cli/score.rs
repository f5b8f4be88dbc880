//! `fewbit score`: how likely a model finds a text, token by token.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use super::launch::{self, LoadArgs};
use crate::job::{RunError, ScoreJob, ScoreResult};
use crate::store::Store;
use crate::target::Target;

/// Score a text, teacher-forced: for each token after the first its negative log-likelihood and the model's own best.
///
/// With --json one object: target, outcome, ids; nll and best with one entry each for ids[1…]; mean_nll.
#[derive(Args)]
pub(crate) struct Score {
    /// A name from `fewbit models list`, a folder or a file.
    model: String,
    /// The text, or a file of it.
    #[arg(required_unless_present = "ids", conflicts_with = "ids")]
    text: Option<String>,
    /// Token ids instead of a text: [1, 2, 3], or a file of that.
    #[arg(long, value_name = "JSON")]
    ids: Option<String>,
    /// Where to run (see `fewbit run --help`).
    #[arg(long, default_value = "native:cpu")]
    target: Target,
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadArgs,
}

impl Score {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let job = self.job()?;
        let store = Store::open()?;
        let files = launch::resolve(&store, &self.model)?;
        let pages = launch::pages_for(&[self.target], &store).await?;
        let result = match launch::load(self.target, pages.as_ref(), &files, &self.load).await {
            Ok(mut loaded) => {
                let result = loaded.runner.score(&job).await;
                // Ends a browser; the answer is there already.
                let _ = loaded.runner.dispose().await;
                result.map(|score| (launch::head(self.target, &files.name, &loaded.info), score))
            }
            Err(error) => Err(error),
        };
        match result {
            Ok((head, score)) => {
                if self.json {
                    println!("{}", launch::merged(head, serde_json::to_value(&score)?));
                } else {
                    print(&score);
                }
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => Ok(fail(self.target, &files.name, &error, self.json)),
        }
    }

    fn job(&self) -> anyhow::Result<ScoreJob> {
        if let Some(ids) = &self.ids {
            let json = if ids.trim_start().starts_with('[') {
                ids.clone()
            } else {
                std::fs::read_to_string(ids).with_context(|| format!("--ids {ids}"))?
            };
            let ids: Vec<u32> = serde_json::from_str(&json).context("--ids wants [1, 2, 3]")?;
            if ids.len() < 2 {
                bail!("--ids wants at least two: the first has nothing before it to be scored by");
            }
            return Ok(ScoreJob {
                text: None,
                ids: Some(ids),
            });
        }
        let text = self.text.clone().unwrap_or_default();
        let text = match std::fs::metadata(&text) {
            Ok(m) if m.is_file() => std::fs::read_to_string(&text).with_context(|| text.clone())?,
            _ => text,
        };
        Ok(ScoreJob {
            text: Some(text),
            ids: None,
        })
    }
}

/// Says why there is no answer.
fn fail(target: Target, model: &str, error: &RunError, json: bool) -> ExitCode {
    if json {
        println!("{}", launch::failure(target, model, error));
    } else {
        eprintln!("fewbit: {target}: {}: {error}", error.outcome.name());
    }
    ExitCode::FAILURE
}

fn print(score: &ScoreResult) {
    println!("{:>8}  {:>9}  {:>8}", "id", "nll", "best");
    for (i, id) in score.ids.iter().enumerate().skip(1) {
        let (nll, best) = (score.nll.get(i - 1), score.best.get(i - 1));
        println!(
            "{id:>8}  {:>9.4}  {:>8}",
            nll.copied().unwrap_or(f64::NAN),
            best.copied().unwrap_or_default()
        );
    }
    println!("mean nll {:.5}", score.mean_nll);
}

//! `fewbit models`: what there is, and getting and removing it.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::progress::PullProgress;
use crate::store::{ModelEntry, Presence, Store};

/// List, pull, remove and find model files.
#[derive(Args)]
pub(crate) struct Models {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What the manifest has, and what of it is here.
    List {
        /// One JSON array on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Get a model: its sources in order, resumed, checked by sha256. A whole model is checked again.
    Pull {
        /// A name or alias from `fewbit models list`.
        #[arg(required = true)]
        names: Vec<String>,
        #[arg(long)]
        json: bool,
    },
    /// Remove a model's files.
    Remove {
        #[arg(required = true)]
        names: Vec<String>,
        #[arg(long)]
        json: bool,
    },
    /// Look at a model's files: format, sums, shapes against the configuration, NaN and infinities, the operators that each
    /// target has, the memory it takes, licence and provenance. Exit code 1 where something does not hold.
    #[cfg(feature = "native")]
    Verify(super::inspect::Inspect),
    /// Print the folder of a model's files, or with no name the store's.
    Path {
        name: Option<String>,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    aliases: &'a [String],
    title: &'a str,
    task: &'a str,
    licence: &'a str,
    home: &'a str,
    bytes: u64,
    /// `whole`, `part` or `missing`.
    here: &'static str,
    path: String,
    files: Vec<&'a str>,
}

fn row<'a>(store: &Store, model: &'a ModelEntry) -> Row<'a> {
    Row {
        name: &model.name,
        aliases: &model.aliases,
        title: &model.title,
        task: &model.task,
        licence: &model.licence,
        home: &model.home,
        bytes: model.bytes(),
        here: match store.presence(model) {
            Presence::Whole => "whole",
            Presence::Part => "part",
            Presence::Missing => "missing",
        },
        path: store.folder_of(model).display().to_string(),
        files: model.files.iter().map(|f| f.name.as_str()).collect(),
    }
}

impl Models {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        #[cfg(feature = "native")]
        if let Command::Verify(inspect) = self.command {
            return inspect.run();
        }
        let store = Store::open()?;
        let mut out = std::io::stdout().lock();
        match self.command {
            Command::List { json } => {
                let rows: Vec<Row> = store
                    .manifest()
                    .models
                    .iter()
                    .map(|model| row(&store, model))
                    .collect();
                if json {
                    writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
                } else {
                    print_table(&mut out, &rows)?;
                }
            }
            Command::Pull { names, json } => {
                for name in names {
                    let model = store.entry(&name)?;
                    let progress = PullProgress::new(&model.name);
                    store.pull(model, &|event| progress.on(event))?;
                    drop(progress);
                    if json {
                        writeln!(out, "{}", serde_json::to_string(&row(&store, model))?)?;
                    } else {
                        writeln!(out, "{}", store.folder_of(model).display())?;
                    }
                }
            }
            Command::Remove { names, json } => {
                for name in names {
                    let model = store.entry(&name)?;
                    let freed = store.remove(model)?;
                    if json {
                        let line = serde_json::json!({"name": model.name, "bytes_freed": freed});
                        writeln!(out, "{line}")?;
                    } else {
                        let freed = indicatif::HumanBytes(freed);
                        writeln!(out, "{}: {freed} freed", model.name)?;
                    }
                }
            }
            #[cfg(feature = "native")]
            Command::Verify(_) => {}
            Command::Path { name, json } => {
                let path = match name {
                    Some(name) => store.folder_of(store.entry(&name)?),
                    None => store.home().to_path_buf(),
                };
                if json {
                    writeln!(out, "{}", serde_json::json!({"path": path}))?;
                } else {
                    writeln!(out, "{}", path.display())?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print_table(out: &mut impl Write, rows: &[Row]) -> std::io::Result<()> {
    let width = rows.iter().map(|r| r.name.len()).max().unwrap_or(0);
    for row in rows {
        writeln!(
            out,
            "{:width$}  {:10}  {:>10}  {:7}  {}",
            row.name,
            row.task,
            indicatif::HumanBytes(row.bytes).to_string(),
            row.here,
            row.licence,
        )?;
    }
    Ok(())
}

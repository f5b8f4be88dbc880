//! `cargo xtask build`: wasm variants, the npm package's JavaScript, the command.

pub(crate) mod cargo;
pub(crate) mod host;
pub(crate) mod wasm;
pub(crate) mod web;

use anyhow::Result;
use clap::ValueEnum;

use crate::progress::Progress;
use crate::project::Project;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build only this part.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// With `--only wasm`: build only these variants (default: all).
    #[arg(long = "variant", value_name = "NAME")]
    variants: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The wasm variants, into dist/web/wasm.
    Wasm,
    /// The JavaScript of the npm package, into dist/web.
    Web,
    /// The command, into target/release/fewbit.
    Host,
}

pub(crate) fn run(project: &Project, progress: &Progress, args: &Args) -> Result<()> {
    let wants = |part| args.only.is_none_or(|only| only == part);
    if wants(Part::Wasm) {
        let mut chosen = wasm::choose(&args.variants)?;
        if args.variants.is_empty() {
            chosen.extend(wasm::MODULES);
        }
        wasm::build(project, progress, &chosen)?;
    }
    if wants(Part::Web) {
        web::build(project, progress)?;
    }
    if wants(Part::Host) {
        host::command(project, progress)?;
    }
    Ok(())
}

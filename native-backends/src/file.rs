//! A model file on disk as the engine reads it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use fewbit_engine::source::{ByteSource, LocalFuture, SourceError};

/// A file, read where it is asked for.
pub struct FileSource {
    name: String,
    file: Mutex<File>,
    len: u64,
}

impl FileSource {
    /// Opens `path`; errors will call it `name`.
    pub fn open(name: impl Into<String>, path: &Path) -> io::Result<FileSource> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
        }
        Ok(FileSource {
            name: name.into(),
            file: Mutex::new(file),
            len: metadata.len(),
        })
    }

    fn fill(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = self
            .file
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }
}

impl ByteSource for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read_at<'a>(
        &'a self,
        offset: u64,
        buffer: &'a mut [u8],
    ) -> LocalFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            self.end_of(offset, buffer.len())?;
            self.fill(offset, buffer)
                .map_err(|error| SourceError::Read {
                    file: self.name.clone(),
                    message: error.to_string(),
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges_and_refuses_what_is_beyond_the_end() {
        let path = std::env::temp_dir().join(format!("fewbit-file-source-{}", std::process::id()));
        std::fs::write(&path, b"0123456789").unwrap();
        let source = FileSource::open("digits", &path).unwrap();
        let mut buffer = [0; 4];
        pollster::block_on(source.read_at(3, &mut buffer)).unwrap();
        assert_eq!(&buffer, b"3456");
        let error = pollster::block_on(source.read_at(8, &mut buffer)).unwrap_err();
        assert!(matches!(
            error,
            SourceError::OutOfRange {
                end: 12,
                len: 10,
                ..
            }
        ));
        std::fs::remove_file(&path).unwrap();
        assert!(FileSource::open("gone", &path).is_err());
        assert!(FileSource::open("folder", &std::env::temp_dir()).is_err());
    }
}

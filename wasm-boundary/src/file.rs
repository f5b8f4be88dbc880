//! A model's file as JavaScript holds it: `{ name, size, read(offset, length) }`.

use fewbit_engine::source::{ByteSource, LocalFuture, SourceError};
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::thrown::text_of;

#[wasm_bindgen]
extern "C" {
    /// A file of a model.
    pub type JsFile;

    #[wasm_bindgen(method, getter)]
    fn name(this: &JsFile) -> String;

    #[wasm_bindgen(method, getter)]
    fn size(this: &JsFile) -> f64;

    /// Bytes, or a promise of them.
    #[wasm_bindgen(method, catch)]
    fn read(this: &JsFile, offset: f64, length: f64) -> Result<JsValue, JsValue>;
}

/// A file's bytes for the engine.
pub struct FileSource {
    name: String,
    size: u64,
    file: JsFile,
}

impl FileSource {
    /// The file, if its size is a whole number that JavaScript can count.
    pub fn new(file: JsFile) -> Result<FileSource, SourceError> {
        let name = file.name();
        let size = file.size();
        if !(0.0..=9_007_199_254_740_991.0).contains(&size) || size.fract() != 0.0 {
            return Err(SourceError::Read {
                file: name,
                message: format!("{size} is no size"),
            });
        }
        Ok(FileSource {
            name,
            size: size as u64,
            file,
        })
    }
}

impl ByteSource for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.size
    }

    fn read_at<'a>(
        &'a self,
        offset: u64,
        buffer: &'a mut [u8],
    ) -> LocalFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let end = self.end_of(offset, buffer.len())?;
            let failed = |message: String| SourceError::Read {
                file: self.name.clone(),
                message: format!("bytes {offset}..{end}: {message}"),
            };
            let answer = self
                .file
                .read(offset as f64, buffer.len() as f64)
                .map_err(|error| failed(text_of(&error)))?;
            let answer = match answer.dyn_into::<Promise>() {
                Ok(promise) => JsFuture::from(promise)
                    .await
                    .map_err(|error| failed(text_of(&error)))?,
                Err(bytes) => bytes,
            };
            let bytes: Uint8Array = answer
                .dyn_into()
                .map_err(|_| failed("no Uint8Array came back".into()))?;
            if bytes.length() as usize != buffer.len() {
                return Err(failed(format!("{} bytes came back", bytes.length())));
            }
            bytes.copy_to(buffer);
            Ok(())
        })
    }
}

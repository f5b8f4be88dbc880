//! A file that is opened as a decoder.

use std::rc::Rc;

use fewbit_engine::graph::GraphError;
use fewbit_engine::graph::pass::prune;
use fewbit_engine::source::ByteSource;
use fewbit_engine::task::checkpoint::ModelFiles;

use super::causal::{Refused, by_position, check};
use super::{DecoderOptions, ImportedDecoder, Inputs, model, prepare, wanted_rows};
use crate::import::importer::Importer;
use crate::import::model::{OnnxFile, Stop};
use crate::import::walk::read_model;
use crate::import::{ImportError, ImportOptions, Imported, Interface};
use crate::rewrite::{rewrite, rewrite_quantized};

impl OnnxFile {
    /// Whether a file's inputs and outputs are those of a decoder with a cache: one for [`OnnxFile::open_decoder`].
    ///
    /// # Errors
    /// [`ImportError::File`] for bytes that are no model.
    pub async fn has_cache(file: &dyn ByteSource) -> Result<bool, ImportError> {
        let graph = read_model(file).await?.graph.unwrap_or_default();
        Ok(Interface::of(&graph).has_cache())
    }

    /// As [`OnnxFile::open`], for [`OnnxFile::import_decoder`].
    ///
    /// # Errors
    /// Those of [`OnnxFile::open`], and [`ImportError::NotImported`] for what is no decoder with a cache.
    pub async fn open_decoder(files: &ModelFiles, name: &str) -> Result<OnnxFile, ImportError> {
        match files.find(name) {
            Some(file) => OnnxFile::read_decoder(file.clone(), files).await,
            None => Err(ImportError::File {
                file: name.to_owned(),
                reason: "is not among the files".to_owned(),
            }),
        }
    }

    pub(in crate::import) async fn read_decoder(
        file: Rc<dyn ByteSource>,
        beside: &ModelFiles,
    ) -> Result<OnnxFile, ImportError> {
        let messages = read_model(file.as_ref()).await?;
        let name = file.name().to_owned();
        let prepare = |graph| match prepare(graph) {
            Ok((graph, roles)) => Ok((graph, Some(roles))),
            Err(what) => Err(ImportError::NotImported { file: name, what }),
        };
        OnnxFile::of(messages, file, beside, prepare).await
    }

    /// Makes the graph of a decoder that takes its cache and gives it back, with the cache in place: inputs `input_ids`,
    /// `position` and `rows`, output `logits`, states of `capacity` tokens.
    ///
    /// # Errors
    /// Those of [`OnnxFile::import`], and [`ImportError::NotImported`] for what is no such decoder.
    pub async fn import_decoder(
        &self,
        options: &DecoderOptions,
    ) -> Result<ImportedDecoder, ImportError> {
        loop {
            match self.try_decoder(options) {
                Ok(decoder) => return Ok(decoder),
                Err(Stop::Weight(name)) => self.learn(&name).await?,
                Err(Stop::Error(error)) => return Err(*error),
            }
        }
    }

    fn try_decoder(&self, options: &DecoderOptions) -> Result<ImportedDecoder, Stop> {
        let not_imported = |what: String| ImportError::NotImported {
            file: self.name().to_owned(),
            what,
        };
        let Some(roles) = &self.roles else {
            return Err(not_imported("a file that was not opened as a decoder".to_owned()).into());
        };
        let nothing = ImportOptions::default();
        let mut importer = Importer::new(
            self.name(),
            &nothing,
            &self.files,
            &self.versions,
            &self.known,
        );
        let inputs = Inputs::new(&mut importer.context);
        let inputs = inputs.map_err(|e| importer.refused_value("input_ids", &e))?;
        importer.decoder = Some((inputs, roles));
        importer.graph(&self.graph, &self.entries)?;
        let context = importer.context;
        let wrong = |e: GraphError| not_imported(e.to_string());
        let mut stored = context.stored;
        let whole = prune(&context.builder.finish());
        let whole = rewrite_quantized(&whole, &mut stored);
        let whole = whole.and_then(|whole| rewrite(&whole)).map_err(wrong)?;
        let whole = match by_position(&whole, &context.known_weights) {
            Ok(whole) => whole,
            Err(Refused::Weight(name)) => return Err(Stop::Weight(name)),
            Err(Refused::Told(what)) => return Err(not_imported(what).into()),
        };
        if roles.strict {
            check(&whole).map_err(not_imported)?;
        }
        let graph = wanted_rows(&whole).map_err(wrong)?;
        let model = model(&graph, roles, options, context.positions);
        let source = self.source(&graph, stored);
        Ok(ImportedDecoder {
            model: model.map_err(not_imported)?,
            imported: Imported {
                graph,
                source,
                counts: Vec::new(),
                rooms: Vec::new(),
                assumed: Vec::new(),
            },
        })
    }
}

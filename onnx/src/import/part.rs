//! A part of a decoder's file: what predicts the next tokens, or what is made of the source once.

use fewbit_engine::task::checkpoint::ModelFiles;

use super::decoder::{choose_branch, drop_unneeded};
use super::model::OnnxFile;
use super::walk::read_model;
use super::{ImportError, Interface};
use crate::proto::GraphProto;

/// Which outputs of a decoder's file are wanted, and so which nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The logits, made with what the cache has.
    Logits,
    /// The keys and values of the attention to a source, made without a cache.
    Source,
}

impl Part {
    fn wants(self, output: &str) -> bool {
        match self {
            Part::Logits => output == "logits",
            Part::Source => output.starts_with("present.") && output.contains(".encoder."),
        }
    }

    /// The branch of a "merged" decoder that makes it.
    fn branch(self) -> &'static str {
        match self {
            Part::Logits => "then_branch",
            Part::Source => "else_branch",
        }
    }
}

impl OnnxFile {
    /// What goes in and out of the file `name` among `files`.
    ///
    /// # Errors
    /// [`ImportError::File`] for bytes that are no model, or a file that is not there.
    pub(crate) async fn interface_of(
        files: &ModelFiles,
        name: &str,
    ) -> Result<Interface, ImportError> {
        let file = files.find(name).ok_or_else(|| missing(name))?;
        let graph = read_model(file.as_ref()).await?.graph;
        Ok(Interface::of(&graph.unwrap_or_default()))
    }

    /// As [`OnnxFile::open`], of a decoder's file no more than this part.
    ///
    /// # Errors
    /// Those of [`OnnxFile::open`], and [`ImportError::NotImported`] for a file without such a part.
    pub(crate) async fn open_part(
        files: &ModelFiles,
        name: &str,
        part: Part,
    ) -> Result<OnnxFile, ImportError> {
        let file = files.find(name).ok_or_else(|| missing(name))?.clone();
        let model = read_model(file.as_ref()).await?;
        let prepare = |graph| match kept(graph, part) {
            Ok(graph) => Ok((graph, None)),
            Err(what) => Err(ImportError::NotImported {
                file: name.to_owned(),
                what,
            }),
        };
        OnnxFile::of(model, file, files, prepare).await
    }
}

fn missing(name: &str) -> ImportError {
    ImportError::File {
        file: name.to_owned(),
        reason: "is not among the files".to_owned(),
    }
}

fn kept(mut graph: GraphProto, part: Part) -> Result<GraphProto, String> {
    choose_branch(&mut graph, part.branch())?;
    let outputs = &mut graph.output;
    outputs.retain(|output| output.name.as_deref().is_some_and(|name| part.wants(name)));
    if outputs.is_empty() {
        return Err(match part {
            Part::Logits => "a decoder without logits".to_owned(),
            Part::Source => "a decoder that makes nothing of a source".to_owned(),
        });
    }
    drop_unneeded(&mut graph);
    Ok(graph)
}

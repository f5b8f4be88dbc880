//! A model as ONNX: one file, or two where it is an encoder-decoder.

use std::ops::ControlFlow;
use std::path::Path;

use fewbit_engine::graph::Graph;
use fewbit_engine::model::ModelKind;
use fewbit_engine::session::{UploadProgress, WeightSource};
use fewbit_engine::task::checkpoint::OpenModel;
use fewbit_onnx::{ExternalData, prepare};

use super::staged::Staged;
use super::{ConvertError, OnConvert};

/// Writes the model's graphs: into the file `single`, or into `onnx/` of a folder, by the names that Hugging Face's tools have.
pub(super) fn write(
    model: &OpenModel,
    out: &mut Staged,
    single: Option<&Path>,
    external: bool,
    on: OnConvert<'_>,
) -> Result<(), ConvertError> {
    let name = single.and_then(Path::file_name);
    let name = name.map(|name| name.to_string_lossy().into_owned());
    let graphs: Vec<(String, &Graph)> = match (&model.built.kind, single) {
        (ModelKind::EncoderDecoder(_), Some(path)) => {
            return Err(ConvertError::TwoFiles(path.to_path_buf()));
        }
        (ModelKind::EncoderDecoder(parts), None) => vec![
            ("onnx/encoder_model.onnx".into(), &parts.encoder),
            (
                "onnx/decoder_with_past_model.onnx".into(),
                &model.built.graph,
            ),
        ],
        (_, Some(_)) => vec![(name.unwrap_or_default(), &model.built.graph)],
        (_, None) => vec![("onnx/model.onnx".into(), &model.built.graph)],
    };
    for (name, graph) in graphs {
        file(graph, &model.source, out, &name, external, on)?;
    }
    Ok(())
}

fn file(
    graph: &Graph,
    source: &WeightSource,
    out: &mut Staged,
    name: &str,
    external: bool,
    on: OnConvert<'_>,
) -> Result<(), ConvertError> {
    let prepared = prepare(graph)?;
    let mut file = out.create(name)?;
    let mut on_progress = |progress: UploadProgress| {
        on(progress.done, progress.total);
        ControlFlow::Continue(())
    };
    if !external && !prepared.needs_external_data() {
        let writing = prepared.write(source, &mut file, None, &mut on_progress);
        pollster::block_on(writing)?;
        return file.finish();
    }
    let beside = format!("{name}.data");
    let mut data = out.create(&beside)?;
    let own_name = beside.rsplit('/').next().unwrap_or_default();
    let external = ExternalData {
        name: own_name,
        out: &mut data,
    };
    let writing = prepared.write(source, &mut file, Some(external), &mut on_progress);
    pollster::block_on(writing)?;
    data.finish()?;
    file.finish()
}

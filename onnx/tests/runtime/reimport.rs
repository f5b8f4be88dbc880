//! Exported files read by the importer and computed by the scalar reference.

use std::collections::BTreeMap;
use std::path::Path;

use fewbit_engine::backend::cpu::reference::{View, evaluate_graph};
use fewbit_engine::format::read_tensor;
use fewbit_engine::graph::Bindings;
use fewbit_onnx::proto::ModelProto;
use fewbit_onnx::{ImportOptions, import};
use prost::Message;

use crate::reference::Named;

/// The outputs of the file, imported for the sizes that the inputs `given` have.
pub(crate) fn run(file: &Path, given: &Named) -> Named {
    let shown = file.display();
    let bytes = std::fs::read(file).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    let model = ModelProto::decode(&bytes[..]).unwrap().graph.unwrap();
    let mut sizes = Bindings::new();
    let mut names = Vec::new();
    for input in &model.input {
        let name = input.name.clone().unwrap();
        let tensor = given
            .get(&name)
            .unwrap_or_else(|| panic!("{shown}: {name}"));
        let described = input.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
        for (dim, &size) in described
            .shape
            .as_ref()
            .unwrap()
            .dim
            .iter()
            .zip(tensor.shape())
        {
            if let Some(symbol) = &dim.dim_param {
                sizes.insert(symbol.clone(), size);
            }
        }
        names.push(name);
    }
    let options = ImportOptions {
        sizes,
        ..ImportOptions::default()
    };
    let imported =
        import(&bytes, name, &options).unwrap_or_else(|error| panic!("{shown}: {error}"));
    let mut weights = Vec::new();
    for (_, name, value) in imported.graph.weights() {
        let source = &imported.source;
        let entry = source.checkpoint.get(name).unwrap();
        let bytes = pollster::block_on(read_tensor(&source.files, entry)).unwrap();
        weights.push((name, value.element, value.fixed_shape().unwrap(), bytes));
    }
    let mut views: BTreeMap<String, View<'_>> = BTreeMap::new();
    for (name, element, shape, bytes) in &weights {
        let view = View {
            element: *element,
            shape,
            bytes,
        };
        views.insert((*name).to_owned(), view);
    }
    for name in names {
        let tensor = &given[&name];
        views.insert(name, tensor.into());
    }
    evaluate_graph(&imported.graph, &views)
        .unwrap_or_else(|error| panic!("{shown}: {error}"))
        .outputs
}

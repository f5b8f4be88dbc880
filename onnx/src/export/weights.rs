//! Weights as initializers.

use fewbit_engine::format::read_tensor;
use fewbit_engine::graph::{Graph, Source, ValueId};
use fewbit_engine::session::WeightSource;
use fewbit_engine::tensor::{DataType, ElementType, decode};

use super::ExportError;
use crate::proto::{TensorProto, data_type_number};

/// Protobuf's limit for a message, less what else is in the file.
const MOST_BYTES: u64 = (2 << 30) - (16 << 20);

/// Whether a weight's initializer has the element type that the graph says: 16-bit floats and block formats become f32.
pub(super) fn keeps_type(element: ElementType) -> bool {
    match element {
        ElementType::Plain(DataType::F16 | DataType::Bf16) | ElementType::Block(_) => false,
        ElementType::Plain(_) => true,
    }
}

/// Reads each weight as an initializer of the name beside it, in the graph's shape.
pub(super) async fn read(
    graph: &Graph,
    wanted: &[(ValueId, String)],
    source: &WeightSource,
) -> Result<Vec<TensorProto>, ExportError> {
    let mut total: u64 = 0;
    for (id, _) in wanted {
        let shape = graph.value(*id).fixed_shape()?;
        let elements = shape.iter().map(|&size| size as u64);
        let bytes = elements.fold(4, u64::saturating_mul);
        total = total.saturating_add(bytes);
    }
    if total > MOST_BYTES {
        return Err(ExportError::TooLarge(total));
    }
    let mut initializers = Vec::with_capacity(wanted.len());
    for (id, initializer) in wanted {
        let value = graph.value(*id);
        let Source::Weight(name) = &value.source else {
            continue;
        };
        let bytes = read_tensor(&source.files, source.checkpoint.get(name)?).await?;
        let shape = value.fixed_shape()?;
        let (data_type, bytes) = match value.element {
            ElementType::Plain(data_type) if keeps_type(value.element) => (data_type, bytes),
            element => {
                let mut values = vec![0.0f32; shape.iter().product()];
                decode(element, &bytes, &mut values).map_err(|error| ExportError::Decode {
                    name: name.clone(),
                    error,
                })?;
                let bytes = values.iter().flat_map(|value| value.to_le_bytes());
                (DataType::F32, bytes.collect())
            }
        };
        initializers.push(TensorProto {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: Some(data_type_number(data_type)),
            name: Some(initializer.clone()),
            raw_data: Some(bytes),
            ..TensorProto::default()
        });
    }
    Ok(initializers)
}

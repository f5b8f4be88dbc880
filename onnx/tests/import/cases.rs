//! Cases that `fixtures/*.py` write: models with inputs, and what ONNX Runtime makes of them.

use fewbit_engine::tensor::Tensor;
use fewbit_onnx::proto::TensorProto;
use fewbit_onnx::read_tensor;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Cases {
    #[prost(message, repeated, tag = "1")]
    all: Vec<Case>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Case {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) model: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    inputs: Vec<TensorProto>,
    #[prost(message, repeated, tag = "4")]
    outputs: Vec<TensorProto>,
    /// Of a model in several files, instead of `model`.
    #[prost(message, repeated, tag = "5")]
    pub(crate) files: Vec<File>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct File {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn cases(bytes: &[u8]) -> Vec<Case> {
    Cases::decode(bytes).unwrap().all
}

fn named(tensors: &[TensorProto]) -> Vec<(String, Tensor)> {
    let named = |proto: &TensorProto| (proto.name.clone().unwrap(), read_tensor(proto).unwrap());
    tensors.iter().map(named).collect()
}

impl Case {
    pub(crate) fn inputs(&self) -> Vec<(String, Tensor)> {
        named(&self.inputs)
    }

    pub(crate) fn outputs(&self) -> Vec<(String, Tensor)> {
        named(&self.outputs)
    }

    /// An input or output.
    pub(crate) fn tensor(&self, name: &str) -> Tensor {
        let mut all = self.inputs().into_iter().chain(self.outputs());
        all.find(|(own, _)| own == name).unwrap().1
    }

    pub(crate) fn tokens(&self, name: &str) -> Vec<u32> {
        let values = self.tensor(name).to_f64_vec();
        values.into_iter().map(|value| value as u32).collect()
    }
}

/// The largest difference, in parts of the largest number.
pub(crate) fn difference(got: &Tensor, wanted: &Tensor) -> f64 {
    assert_eq!(got.shape(), wanted.shape());
    let (got, wanted) = (got.to_f64_vec(), wanted.to_f64_vec());
    let largest = wanted.iter().fold(1e-3, |most: f64, v| most.max(v.abs()));
    let apart = got.iter().zip(&wanted).map(|(a, b)| (a - b).abs());
    // NaN is apart from everything.
    apart.fold(0.0, |most: f64, d| if d <= most { most } else { d }) / largest
}

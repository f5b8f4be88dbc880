//! Inputs whose numbers decide sizes, as symbols: a graph has a symbol for each number in them, which a run tells.

use fewbit_engine::graph::{Dim, fixed_shape};
use fewbit_engine::model::Count;
use fewbit_engine::tensor::{DataType, Tensor};

use super::ImportOptions;
use super::context::{Context, Made, Value, of_numbers};
use super::error::Refusal;
use super::model::OnnxFile;
use super::sizes::dims;
use super::symbolic::Expressions;
use crate::proto::data_type_of;

/// Inputs of more numbers are not followed.
const MOST_NUMBERS: usize = 16;

/// Inputs of more elements are not filled.
const MOST_FILLED: usize = 1 << 12;

/// How the number of an input is called as a symbol.
fn symbol(input: &str, at: usize) -> String {
    format!("{input}[{at}]")
}

/// How many numbers are in a tensor of this shape, where they may be symbols: in one without dimensions or of one.
fn numbers(data_type: DataType, shape: &[Dim]) -> Option<usize> {
    let integers = matches!(data_type, DataType::I64 | DataType::I32);
    let count = fixed_shape(shape)?.into_iter().product();
    (integers && shape.len() <= 1 && count <= MOST_NUMBERS).then_some(count)
}

impl OnnxFile {
    /// Whether the numbers in this input may be symbols ([`ImportOptions::counted`]).
    pub(crate) fn may_count(&self, input: &str) -> bool {
        let found = self.fixed_input(input);
        found.is_some_and(|(data_type, sizes)| numbers(data_type, &dims(&sizes)).is_some())
    }

    /// A tensor for an input of a fixed shape, all elements of which are `fill`; `None` for others, and for large ones.
    pub(crate) fn filled(&self, input: &str, fill: u8) -> Option<Tensor> {
        let (data_type, sizes) = self.fixed_input(input)?;
        let mut all = sizes.iter();
        let count = all.try_fold(1usize, |n, &size| n.checked_mul(size))?;
        if count > MOST_FILLED {
            return None;
        }
        let fills = vec![f64::from(fill); count];
        match data_type {
            DataType::Bool => Tensor::from_bytes(data_type, &sizes, &vec![fill; count]).ok(),
            _ => of_numbers(data_type, &sizes, &fills).ok(),
        }
    }

    /// The type and the shape of an input whose sizes are numbers.
    fn fixed_input(&self, input: &str) -> Option<(DataType, Vec<usize>)> {
        let mut all = self.graph.input.iter();
        let info = all.find(|info| info.name.as_deref() == Some(input))?;
        let tensor = info.r#type.as_ref()?.tensor_type.as_ref()?;
        let data_type = data_type_of(tensor.elem_type?)?;
        let dims = tensor.shape.as_ref()?.dim.iter();
        let sizes = dims.map(|dim| usize::try_from(dim.dim_value?).ok());
        Some((data_type, sizes.collect::<Option<_>>()?))
    }

    /// The inputs of the file whose numbers the options put into its graph.
    pub(super) fn assumed(&self, options: &ImportOptions) -> Vec<(String, Tensor)> {
        let is_input = |name: &String| {
            let mut all = self.graph.input.iter();
            all.any(|info| info.name.as_ref() == Some(name))
        };
        let values = options.values.iter().filter(|(name, _)| is_input(name));
        values.map(|(name, t)| (name.clone(), t.clone())).collect()
    }
}

impl Context {
    /// Follows the numbers in an input as symbols, if they can be.
    pub(super) fn follow_numbers(&mut self, name: &str, value: Value) {
        let shape = self.builder.shape(value.id).to_vec();
        let Some(count) = numbers(value.data_type, &shape) else {
            return;
        };
        for at in 0..count {
            self.told.push(Count {
                symbol: symbol(name, at),
                input: name.to_owned(),
                at,
            });
        }
        let followed = Expressions {
            shape: fixed_shape(&shape).unwrap_or_default(),
            values: (0..count)
                .map(|at| Dim::symbol(&symbol(name, at)))
                .collect(),
        };
        self.followed.insert(value.id, followed);
    }

    /// Whether a number of an input is in a size.
    pub(crate) fn is_told(&self, dim: &Dim) -> bool {
        dim.symbols()
            .any(|name| self.told.iter().any(|count| count.symbol == name))
    }

    /// `size` elements of one axis from number `at` of `starts` on. Where an input tells that number, and not the size, the
    /// elements are taken by their places, so that each number is not a graph of its own. `None` where it is no such slice.
    pub(crate) fn slice_from(
        &mut self,
        x: Value,
        axis: usize,
        (starts, at): (Value, usize),
        (first, size): (&Dim, &Dim),
    ) -> Result<Option<Value>, Refusal> {
        let whole = self.builder.shape(x.id)[axis].fixed();
        let (Some(whole), true, false) = (whole, self.is_told(first), self.is_told(size)) else {
            return Ok(None);
        };
        self.reaches.push((first.clone() + size.clone(), whole));
        let places = self.iota(size.clone(), 0, 1)?;
        let start: Made = self.pick(starts, 0, &[at]);
        let start = start.and_then(|start| self.cast(start, places.data_type))?;
        let places = self.add(places, start)?;
        self.gather(x, places, axis).map(Some)
    }
}

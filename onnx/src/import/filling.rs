//! Runs that are filled up. Plans are compiled for few sizes, so that a run may be larger than its tokens; what is measured
//! over a whole tensor, as the range by which it is quantized, is measured over the tokens alone.

use fewbit_engine::graph::{Dim, ValueId};
use fewbit_engine::tensor::DataType;

use super::context::{Context, Made, Value};
use super::error::{Refusal, unsupported};
use crate::counting::tokens_that_count;

/// How an input tells what of a run is filled in.
#[derive(Clone, Debug)]
pub struct Filling {
    /// The input of integers `[batch, tokens]` that is 0 for what is filled in. Where the file has none and needs one, the
    /// graph gets it, in i32.
    pub mask: String,
    /// The symbols that its dimensions are.
    pub symbols: [String; 2],
}

impl Filling {
    pub(crate) fn new(mask: &str, symbols: [&str; 2]) -> Filling {
        Filling {
            mask: mask.to_owned(),
            symbols: symbols.map(str::to_owned),
        }
    }
}

/// What is known of a run's filling while a graph is built.
#[derive(Clone)]
pub(crate) struct Counts {
    dims: [Dim; 2],
    mask: Mask,
}

#[derive(Clone)]
enum Mask {
    /// An input that is not there yet.
    Input(String),
    /// By the positions that logits are wanted of.
    Rows(ValueId),
    /// As `bool`.
    Made(Value),
}

impl Counts {
    pub(super) fn by_input(filling: &Filling) -> Counts {
        Counts {
            dims: [0, 1].map(|at| Dim::symbol(&filling.symbols[at])),
            mask: Mask::Input(filling.mask.clone()),
        }
    }

    /// Of a decoder whose cache is in place.
    pub(super) fn by_rows(rows: ValueId) -> Counts {
        Counts {
            dims: ["batch", "tokens"].map(Dim::symbol),
            mask: Mask::Rows(rows),
        }
    }
}

impl Context {
    /// Remembers an input of the file, if it is the one that tells what counts.
    pub(super) fn learn_filling(&mut self, name: &str, value: Value) -> Result<(), Refusal> {
        let is_it = |counts: &Counts| matches!(&counts.mask, Mask::Input(known) if known == name);
        if let Some(at) = self.counts.iter().position(is_it) {
            let made = self.cast(value, DataType::Bool)?;
            self.counts[at].mask = Mask::Made(made);
        }
        Ok(())
    }

    /// `x` with zeros in the place of what is filled in.
    pub(crate) fn without_filling(&mut self, x: Value) -> Made {
        let all = 0..self.counts.len();
        all.into_iter().try_fold(x, |x, at| self.without(x, at))
    }

    /// The same by one of the masks.
    fn without(&mut self, x: Value, at: usize) -> Made {
        let counts = self.counts[at].clone();
        let [batch, tokens] = &counts.dims;
        let shape = self.dims(x)?;
        let names: Vec<&str> = tokens.symbols().collect();
        let is_filled = |dim: &Dim| dim.symbols().any(|name| names.contains(&name));
        if !shape.iter().any(is_filled) {
            return Ok(x);
        }
        let mask = self.mask(at)?;
        let both = batch.clone() * tokens.clone();
        let mut y = x;
        for (axis, dim) in shape.iter().enumerate().filter(|(_, dim)| is_filled(dim)) {
            let mut to = vec![Dim::from(1); shape.len()];
            if axis == 0 && *dim == both {
                to[0] = both.clone();
            } else if axis > 0 && dim == tokens && shape[0] == *batch {
                (to[0], to[axis]) = (batch.clone(), tokens.clone());
            } else {
                return unsupported(format!("a range over {shape:?}, of which not all counts"));
            }
            let mask = self.reshape_to(mask, to)?;
            let nothing = self.number(0.0, x.data_type)?;
            y = self.select(mask, y, nothing)?;
        }
        Ok(y)
    }

    fn mask(&mut self, at: usize) -> Made {
        let counts = self.counts[at].clone();
        let made = match &counts.mask {
            Mask::Made(mask) => return Ok(*mask),
            Mask::Input(name) => {
                let data_type = DataType::I32;
                let shape = counts.dims.to_vec();
                let id = self.builder.input(name, data_type, shape)?;
                self.cast(Value { id, data_type }, DataType::Bool)?
            }
            Mask::Rows(rows) => Value {
                id: tokens_that_count(&mut self.builder, *rows)?,
                data_type: DataType::Bool,
            },
        };
        self.counts[at].mask = Mask::Made(made);
        Ok(made)
    }
}

//! Sizes that are known only when a model runs: what a symbol stands for is read off an input's shape, and arithmetic
//! over symbols becomes nodes. Where a runtime finds a size by itself (0 and -1 in the shape that Reshape takes), no node is
//! written.

use fewbit_engine::graph::{Dim, Factor, fixed_shape};
use fewbit_engine::tensor::DataType;

use super::ExportError;
use super::writer::{Writer, int};

/// How a symbol's size is found.
#[derive(Clone, Debug)]
pub(super) enum Measure {
    /// It is a dimension of a value of this name.
    Axis { of: String, axis: usize },
    /// It is made of others.
    Of(Dim),
}

/// Entries of Reshape's shape that are no sizes.
const SAME: i64 = 0;
const REST: i64 = -1;

impl Writer<'_> {
    /// A size, i64 `[1]`.
    pub(super) fn size(&mut self, dim: &Dim) -> Result<String, ExportError> {
        if let Some(size) = dim.fixed() {
            return self.longs(&[size as i64]);
        }
        let key = format!("size {dim}");
        if let Some(known) = self.remembered(&key) {
            return Ok(known);
        }
        let mut sum: Option<String> = None;
        for (number, factors) in dim.parts() {
            let mut product = match number {
                1 => None,
                number => Some(self.longs(&[number])?),
            };
            for factor in factors {
                let factor = match factor {
                    Factor::Symbol(name) => self.symbol(name)?,
                    Factor::Quotient(dividend, divisor) => {
                        // Neither is negative, so that Div, which cuts off, rounds down.
                        let inputs = vec![self.size(dividend)?, self.longs(&[divisor])?];
                        self.inner("Div", inputs, vec![])
                    }
                };
                product = Some(match product {
                    None => factor,
                    Some(product) => self.inner("Mul", vec![product, factor], vec![]),
                });
            }
            let Some(product) = product else { continue };
            sum = Some(match sum {
                None => product,
                Some(sum) => self.inner("Add", vec![sum, product], vec![]),
            });
        }
        let size = match (sum, dim.constant()) {
            (Some(sum), 0) => sum,
            (Some(sum), constant) => {
                let constant = self.longs(&[constant])?;
                self.inner("Add", vec![sum, constant], vec![])
            }
            (None, constant) => self.longs(&[constant])?,
        };
        self.remember(key, &size);
        Ok(size)
    }

    /// A size as a number without dimensions.
    pub(super) fn scalar(&mut self, dim: &Dim, data_type: DataType) -> Result<String, ExportError> {
        let key = format!("scalar {data_type} {dim}");
        if let Some(known) = self.remembered(&key) {
            return Ok(known);
        }
        let size = self.size(dim)?;
        // Not by Reshape, whose empty shape OpenVINO leaves to others.
        let first = self.longs(&[0])?;
        let mut scalar = self.inner("Squeeze", vec![size, first], vec![]);
        if data_type != DataType::I64 {
            scalar = self.cast(scalar, data_type);
        }
        self.remember(key, &scalar);
        Ok(scalar)
    }

    /// `from, from + 1, …` up to (not including) `to`, `[to - from]`.
    pub(super) fn range(
        &mut self,
        from: &Dim,
        to: &Dim,
        data_type: DataType,
    ) -> Result<String, ExportError> {
        if let (Some(from), Some(to)) = (from.fixed(), to.fixed()) {
            let values: Vec<i64> = (from..to).map(|value| value as i64).collect();
            return match data_type {
                DataType::I64 => self.longs(&values),
                _ => self.ints(&values),
            };
        }
        let key = format!("range {data_type} {from} {to}");
        if let Some(known) = self.remembered(&key) {
            return Ok(known);
        }
        let step = self.scalar(&Dim::from(1), data_type)?;
        let inputs = vec![
            self.scalar(from, data_type)?,
            self.scalar(to, data_type)?,
            step,
        ];
        let range = self.inner("Range", inputs, vec![]);
        self.remember(key, &range);
        Ok(range)
    }

    /// Several sizes, i64 `[length]`.
    pub(super) fn sizes(&mut self, dims: &[Dim]) -> Result<String, ExportError> {
        let parts: Vec<Option<i64>> = dims
            .iter()
            .map(|dim| dim.fixed().map(|size| size as i64))
            .collect();
        self.joined(&parts, dims)
    }

    /// The shape by which Reshape makes `to` of `from`, and its attribute `allowzero`.
    pub(super) fn reshaped(
        &mut self,
        from: &[Dim],
        to: &[Dim],
    ) -> Result<(String, i64), ExportError> {
        if let Some(shape) = fixed_shape(to) {
            // Else a 0 means the dimension of the input.
            let literal = i64::from(shape.contains(&0));
            let shape: Vec<i64> = shape.into_iter().map(|size| size as i64).collect();
            return Ok((self.longs(&shape)?, literal));
        }
        if to.iter().any(|dim| dim.fixed() == Some(0)) {
            return Ok((self.sizes(to)?, 1));
        }
        let mut parts: Vec<Option<i64>> = Vec::with_capacity(to.len());
        for (at, dim) in to.iter().enumerate() {
            parts.push(match dim.fixed() {
                Some(size) => Some(size as i64),
                None if from.get(at) == Some(dim) => Some(SAME),
                None => None,
            });
        }
        let open: Vec<usize> = (0..to.len()).filter(|&at| parts[at].is_none()).collect();
        // The runtime finds one by itself: the only one, or the one that no input tells.
        let unknown = open.iter().find(|&&at| !self.is_known(&to[at]));
        let rest = match open.as_slice() {
            [only] => Some(only),
            _ => unknown,
        };
        if let Some(&rest) = rest {
            parts[rest] = Some(REST);
        }
        Ok((self.joined(&parts, to)?, 0))
    }

    /// A node that gives a value of shape `from` the shape `to`.
    pub(super) fn reshape(
        &mut self,
        name: String,
        from: &[Dim],
        to: &[Dim],
    ) -> Result<String, ExportError> {
        if from == to {
            return Ok(name);
        }
        let (shape, literal) = self.reshaped(from, to)?;
        let literal = int("allowzero", literal);
        Ok(self.inner("Reshape", vec![name, shape], vec![literal]))
    }

    /// A list of numbers, those of `parts` and for what is none there the sizes of `dims`.
    fn joined(&mut self, parts: &[Option<i64>], dims: &[Dim]) -> Result<String, ExportError> {
        if let Some(all) = parts.iter().copied().collect::<Option<Vec<i64>>>() {
            return self.longs(&all);
        }
        let words = parts.iter().zip(dims).map(|(part, dim)| match part {
            Some(number) => number.to_string(),
            None => format!("({dim})"),
        });
        let key = format!("sizes {}", words.collect::<Vec<_>>().join(","));
        if let Some(known) = self.remembered(&key) {
            return Ok(known);
        }
        let mut pieces = Vec::new();
        let mut numbers: Vec<i64> = Vec::new();
        for (part, dim) in parts.iter().zip(dims) {
            match part {
                Some(number) => numbers.push(*number),
                None => {
                    if !numbers.is_empty() {
                        pieces.push(self.longs(&std::mem::take(&mut numbers))?);
                    }
                    pieces.push(self.size(dim)?);
                }
            }
        }
        if !numbers.is_empty() {
            pieces.push(self.longs(&numbers)?);
        }
        let joined = match pieces.len() {
            1 => pieces.swap_remove(0),
            _ => self.inner("Concat", pieces, vec![int("axis", 0)]),
        };
        self.remember(key, &joined);
        Ok(joined)
    }

    /// The size that a symbol stands for, i64 `[1]`.
    fn symbol(&mut self, name: &str) -> Result<String, ExportError> {
        match self.measures.get(name).cloned() {
            Some(Measure::Of(dim)) => self.size(&dim),
            Some(Measure::Axis { of, axis }) => {
                let attributes = vec![int("start", axis as i64), int("end", axis as i64 + 1)];
                let key = format!("shape {name}");
                if let Some(known) = self.remembered(&key) {
                    return Ok(known);
                }
                let size = self.inner("Shape", vec![of], attributes);
                self.remember(key, &size);
                Ok(size)
            }
            None => Err(ExportError::Symbol(name.to_owned())),
        }
    }

    /// Whether the inputs tell a size.
    fn is_known(&self, dim: &Dim) -> bool {
        dim.symbols().all(|name| self.measures.contains_key(name))
    }
}

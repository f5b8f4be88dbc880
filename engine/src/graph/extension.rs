//! Shape and type inference of scattering and of the extensions.

use super::infer::{Check, Described};
use super::op::Extension;
use super::{Dim, GraphError, Shape};
use crate::tensor::{DataType, ElementType};

impl Check<'_> {
    pub(super) fn scatter_nd(&self) -> Result<Described, GraphError> {
        self.count(3)?;
        self.same_type(0, 2)?;
        self.indices(1)?;
        let (x, indices) = (&self.inputs[0].shape, &self.inputs[1].shape);
        let depth = indices.last().and_then(Dim::fixed);
        let Some(depth) = depth.filter(|depth| (1..=x.len()).contains(depth)) else {
            return Err(self.shapes(0, 1));
        };
        let mut wanted: Shape = indices[..indices.len() - 1].to_vec();
        wanted.extend_from_slice(&x[depth..]);
        if self.inputs[2].shape != wanted {
            return Err(self.shapes(1, 2));
        }
        Ok(self.inputs[0].clone())
    }

    pub(super) fn indices(&self, input: usize) -> Result<(), GraphError> {
        match self.inputs[input].element {
            ElementType::Plain(DataType::I32 | DataType::I64 | DataType::U32) => Ok(()),
            got => Err(self.wrong_type(got, "i32, u32 or i64 indices")),
        }
    }

    fn wrong_type(&self, got: ElementType, wanted: &'static str) -> GraphError {
        let op = self.op.name();
        GraphError::Type { op, got, wanted }
    }

    pub(super) fn extension(&self, extension: Extension) -> Result<Described, GraphError> {
        let binary = matches!(extension, Extension::Bitwise(_));
        self.count(1 + usize::from(binary))?;
        let from = self.plain(0)?;
        let shape = self.inputs[0].shape.clone();
        match extension {
            Extension::Atan if from.is_float() => Ok(Described::new(from, shape)),
            Extension::Atan => Err(self.wrong_type(from.into(), "a float type")),
            Extension::Bitcast { to } if to.bytes() == from.bytes() && to != DataType::Bool => {
                Ok(Described::new(to, shape))
            }
            Extension::Bitcast { .. } => Err(self.wrong_type(from.into(), "a type as wide")),
            Extension::Bitwise(_) if from.is_float() => {
                Err(self.wrong_type(from.into(), "an integer type"))
            }
            Extension::Bitwise(_) => {
                self.same_type(0, 1)?;
                Ok(Described::new(from, self.broadcast(0, 1)?))
            }
            Extension::TopK { axis, k, .. } => {
                self.axes(0, &[axis])?;
                let mut shape = shape;
                if shape[axis].fixed().is_some_and(|size| k > size) {
                    return Err(self.operand(format!("{k} of an axis of {}", shape[axis])));
                }
                shape[axis] = Dim::from(k);
                Ok(Described::new(DataType::I64, shape))
            }
        }
    }
}

//! Products of matrices.

use fewbit_engine::graph::op::Binary;
use fewbit_engine::tensor::DataType;

use super::{Call, Outputs, one_of, ranked, same_type};
use crate::error::rule;
use crate::types::{self, broadcast, broadcasts_to};
use crate::value::Number;

pub(super) fn matmul(call: &mut Call<'_>) -> Outputs {
    let a = call.operand_of(0, "a", types::DataType::FLOATS)?;
    let b = call.operand_like(1, "b", &a)?;
    for (name, x) in [("a", &a), ("b", &b)] {
        rule(x.rank() >= 2, || {
            format!("{name}'s rank {} is less than 2", x.rank())
        })?;
    }
    let (rows, columns) = (a.rank() - 2, b.rank() - 2);
    let (inner, other) = (a.shape[rows + 1], b.shape[columns]);
    rule(inner == other, || {
        format!("{inner} columns of a are not the {other} rows of b")
    })?;
    broadcast(&a.shape[..rows], &b.shape[..columns])?;
    Ok(vec![call.emit().matmul(a.value, b.value)?])
}

/// `alpha · a · b + beta · c`, each factor transposed where asked; in f32.
pub(super) fn gemm(call: &mut Call<'_>) -> Outputs {
    let a = call.operand(0, "a")?;
    one_of("a", &a, types::DataType::FLOATS)?;
    let b = call.operand_like(1, "b", &a)?;
    ranked("a", &a, 2)?;
    ranked("b", &b, 2)?;
    let turned = |x: &super::In, transposed: bool| match transposed {
        true => [x.shape[1], x.shape[0]],
        false => [x.shape[0], x.shape[1]],
    };
    let transposed = [
        call.option_flag("aTranspose", false),
        call.option_flag("bTranspose", false),
    ];
    let [rows, inner] = turned(&a, transposed[0]);
    let [other, columns] = turned(&b, transposed[1]);
    rule(inner == other, || {
        format!("{inner} columns of a are not the {other} rows of b")
    })?;
    let number = |name: &str| -> Result<f64, crate::error::Fault> {
        let number = call.option_double(name, 1.0)?;
        Ok(match a.data_type.cast(Number::Float(number)) {
            Number::Float(number) => number,
            Number::Integer(number) => number as f64,
        })
    };
    let (alpha, beta) = (number("alpha")?, number("beta")?);
    let c = match call.option("c") {
        None => None,
        Some(value) => {
            let c = value.operand("c")?;
            let c = call.read(c)?;
            same_type("c", &c, &a)?;
            broadcasts_to(&c.shape, &[rows, columns])?;
            Some(c)
        }
    };
    let emit = call.emit();
    let mut factors = [a.value, b.value];
    for (factor, transposed) in factors.iter_mut().zip(transposed) {
        if transposed {
            *factor = emit.transpose(*factor, &[1, 0])?;
        }
        *factor = emit.cast(*factor, DataType::F32)?;
    }
    let mut y = emit.matmul(factors[0], factors[1])?;
    if alpha != 1.0 {
        y = emit.with(Binary::Mul, y, alpha)?;
    }
    if let Some(c) = c {
        let mut c = emit.cast(c.value, DataType::F32)?;
        if beta != 1.0 {
            c = emit.with(Binary::Mul, c, beta)?;
        }
        y = emit.add(y, c)?;
    }
    Ok(vec![emit.cast(y, a.data_type.engine())?])
}

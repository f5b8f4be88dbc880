//! Weights that are quantized in blocks: products with them and rows of them.

use fewbit_engine::graph::{Dim, Op};
use fewbit_engine::tensor::{DataType, Tensor};

use super::one;
use crate::import::blocks::{Parts, Quantization, repacked};
use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::{Node, axis_of};
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::new("MatMulNBits", 1, matmul),
    Entry::new("GatherBlockQuantized", 1, gather),
];

/// The file's parts as one weight of a block format, `[rows, columns]`; twice the same parts are one weight.
fn weight(
    cx: &mut Context,
    of: Quantization,
    codes: Value,
    scales: Value,
    zeros: Option<Value>,
) -> Made {
    let key = (codes.id, scales.id, zeros.map(|zeros| zeros.id), of);
    if let Some(&made) = cx.quantized.get(&key) {
        return Ok(made);
    }
    let stored = |cx: &Context, x: Value| match cx.stored(x) {
        Some(stored) => Ok(stored),
        None => unsupported("quantized weights that a run computes"),
    };
    let parts = Parts {
        codes: stored(cx, codes)?,
        scales: stored(cx, scales)?,
        zeros: zeros.map(|zeros| stored(cx, zeros)).transpose()?,
    };
    let called = |x: Option<Value>| x.map_or(String::new(), |x| cx.called(x));
    let Quantization {
        rows,
        k,
        bits,
        size,
    } = of;
    let name = format!(
        "quantized:{rows}x{k}:{bits}:{size}:{}:{}:{}",
        called(Some(codes)),
        called(Some(scales)),
        called(zeros)
    );
    let made = repacked(of, parts, &name)?;
    // In f32 is what it decodes to.
    let made = cx.weight(&name, made, DataType::F32)?;
    cx.quantized.insert(key, made);
    Ok(made)
}

/// `x [.., k]` with the zeros that meet what fills the blocks up.
fn filled(cx: &mut Context, of: Quantization, x: Value) -> Made {
    if of.size >= 32 {
        return cx.zeros_after(x, of.columns() - of.k);
    }
    let rest = of.blocks() * of.size - of.k;
    let x = cx.zeros_after(x, rest)?;
    let mut sizes = cx.dims(x)?;
    sizes.pop();
    let mut apart = sizes.clone();
    apart.extend([Dim::from(of.blocks()), Dim::from(of.size)]);
    let x = cx.reshape_to(x, apart)?;
    let x = cx.zeros_after(x, of.columns() / of.blocks() - of.size)?;
    sizes.push(Dim::from(of.columns()));
    cx.reshape_to(x, sizes)
}

/// The rows' own weights, without what fills the blocks up.
fn emptied(cx: &mut Context, of: Quantization, rows: Value) -> Made {
    let mut rows = rows;
    if of.size < 32 {
        let mut sizes = cx.dims(rows)?;
        sizes.pop();
        let mut apart = sizes.clone();
        let each = of.columns() / of.blocks();
        apart.extend([Dim::from(of.blocks()), Dim::from(each)]);
        rows = cx.reshape_to(rows, apart)?;
        rows = cx.slice(rows, sizes.len() + 1, 0, of.size)?;
        sizes.push(Dim::from(of.blocks() * of.size));
        rows = cx.reshape_to(rows, sizes)?;
    }
    let last = cx.rank(rows) - 1;
    cx.slice(rows, last, 0, of.k)
}

/// `a [.., K]` times the transposed matrix `[N, K]`, plus the bias.
fn matmul(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (a, codes, scales) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let (zeros, groups, bias) = (node.optional(3), node.optional(4), node.optional(5));
    // In what precision a run may be is the session's to say.
    node.ignore(&["accuracy_level"]);
    if groups.is_some() {
        return unsupported("with g_idx, the order of groups");
    }
    if node.int("weight_prepacked", 0)? != 0 {
        return unsupported("weights packed for one kind of device");
    }
    let (n, k) = (node.int("N", 0)?, node.int("K", 0)?);
    let of = Quantization::new(n, k, node.int("bits", 4)?, node.int("block_size", 0)?)?;
    let weight = weight(cx, of, codes, scales, zeros)?;
    if cx.fixed_from_end(a, 1)? != of.k {
        return wrong(format!("{:?} times {} columns", cx.dims(a)?, of.k));
    }
    let x = cx.cast(a, DataType::F32)?;
    let x = filled(cx, of, x)?;
    let mut inputs = vec![x, weight];
    if let Some(bias) = bias {
        inputs.push(cx.cast(bias, DataType::F32)?);
    }
    let product = Op::BlockMatmul {
        bias: bias.is_some(),
        exact: false,
    };
    let y = cx.op(product, &inputs, DataType::F32)?;
    one(cx.cast(y, a.data_type))
}

/// Rows of a matrix whose codes are bytes, or elements of four bits.
fn gather(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (codes, indices, scales) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let zeros = node.optional(3);
    let bits = node.int("bits", 4)?;
    let shape = cx.dims(codes)?;
    let fixed: Option<Vec<usize>> = shape.iter().map(Dim::fixed).collect();
    let Some(&[rows, columns]) = fixed.as_deref() else {
        return unsupported(format!("of data {shape:?}"));
    };
    let (gathered, quantized) = (
        axis_of(node.int("gather_axis", 0)?, 2)?,
        axis_of(node.int("quantize_axis", 1)?, 2)?,
    );
    let nibbles = matches!(codes.data_type, DataType::I4 | DataType::U4);
    if !(nibbles && bits == 4 || codes.data_type == DataType::U8) || (gathered, quantized) != (0, 1)
    {
        return unsupported(format!(
            "of data of {} in {bits} bits, axis {gathered} quantized on axis {quantized}",
            codes.data_type
        ));
    }
    let per_byte = usize::try_from(bits).ok().filter(|&bits| bits > 0);
    let k = match nibbles {
        true => Some(columns),
        false => per_byte.and_then(|bits| Some(columns.checked_mul(8)? / bits)),
    };
    let Some(k) = k else {
        return wrong(format!("{bits} bits"));
    };
    let of = Quantization::new(rows as i64, k as i64, bits, node.int("block_size", 128)?)?;
    if of.blocks() * of.size != of.k {
        // The codes of a row end with its last weight, not with a whole block.
        return unsupported(format!("rows of {k} in blocks of {}", of.size));
    }
    let (codes, zeros) = match nibbles {
        true => (packed(cx, codes)?, Some(offsets(cx, of, codes, zeros)?)),
        false => (codes, zeros),
    };
    let table = weight(cx, of, codes, scales, zeros)?;
    let gather = Op::Gather {
        axis: 0,
        decode: true,
    };
    let y = cx.op(gather, &[table, indices], DataType::F32)?;
    let y = emptied(cx, of, y)?;
    one(cx.cast(y, scales.data_type))
}

/// What is added to elements of four bits so that none is negative.
fn shift(data_type: DataType) -> u8 {
    match data_type {
        DataType::I4 => 8,
        _ => 0,
    }
}

/// Elements of four bits as bytes of two codes each, the first in the lower half.
fn packed(cx: &mut Context, x: Value) -> Made {
    let (tensor, shift) = (cx.known(x)?, shift(x.data_type));
    let code = |element: &u8| (element & 15) ^ shift;
    let pairs = tensor.bytes().chunks(2);
    let bytes: Vec<u8> = pairs
        .map(|pair| code(&pair[0]) | pair.get(1).map_or(0, code) << 4)
        .collect();
    cx.constant(Tensor::from_bytes(DataType::U8, &[bytes.len()], &bytes)?)
}

/// The zero points of such elements, a number a block; 0 where the file has none, unlike those of bytes.
fn offsets(cx: &mut Context, of: Quantization, codes: Value, zeros: Option<Value>) -> Made {
    let shift = f32::from(shift(codes.data_type));
    let numbers = match zeros {
        Some(zeros) if zeros.data_type == codes.data_type => cx.known_floats(zeros)?,
        Some(zeros) => return wrong(format!("zero points of {}", zeros.data_type)),
        None => vec![0.0; of.rows.saturating_mul(of.blocks())],
    };
    let numbers: Vec<f32> = numbers.iter().map(|&zero| zero as f32 + shift).collect();
    cx.floats(&[numbers.len()], &numbers)
}

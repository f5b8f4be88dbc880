//! Element-wise operators: each, or a fused chain of them, is one kernel whose body is written here.

use std::fmt::Write;

use fewbit_shaders::{Elementwise, Indexing, InputType, Kernel};

use super::{Dispatch, Lowering, Part, Work, broadcast_strides, unsupported};
use crate::backend::BackendError;
use crate::backend::gpu::element::device_type;
use crate::graph::op::{Binary, Bitwise, Compare, Extension, Fused, Logical, Operand, Step, Unary};
use crate::graph::{Node, Op};
use crate::tensor::DataType;

const WORKGROUP: u32 = 64;

impl Lowering<'_> {
    pub(super) fn elementwise(&mut self, node: &Node) -> Result<(), BackendError> {
        let op = node.op.name();
        let types = node
            .inputs
            .iter()
            .map(|&id| self.device_type(op, id))
            .collect::<Result<Vec<_>, _>>()?;
        let to = node.outputs[0];
        let output = self.device_type(op, to)?;
        let plain = self.graph.value(node.inputs[0]).element.plain();
        let made = self.graph.value(to).element.plain();
        let body = body(&node.op, &types, plain)
            .and_then(|body| wrapped(&node.op, body, made?))
            .ok_or_else(|| unsupported(op, format!("over {types:?} on the GPU")))?;
        let shape = self.shape(to).to_vec();
        let count: usize = shape.iter().product();
        if shape.len() > 8 || types.len() > 8 {
            return Err(unsupported(
                op,
                format!("{} inputs of {} dimensions", types.len(), shape.len()),
            ));
        }
        let found: Vec<(Indexing, usize)> = node
            .inputs
            .iter()
            .map(|&id| indexing(self.shape(id), &shape))
            .collect();
        // A cast's body names scalar types.
        let vec4 = !matches!(
            node.op,
            Op::Cast { .. } | Op::Extension(Extension::Bitcast { .. })
        ) && count.is_multiple_of(4)
            && output == InputType::F32
            && types.iter().all(|&t| t == InputType::F32)
            && found.iter().all(|(indexing, period)| match indexing {
                Indexing::Along | Indexing::One => true,
                Indexing::Repeat => period % 4 == 0,
                Indexing::Stretch | Indexing::Strided => false,
            });
        let lanes = if vec4 { 4 } else { 1 };
        let mut params = vec![0u32; 4 + 8 + 8 + 64];
        params[0] = (count / lanes) as u32;
        for (i, (indexing, period)) in found.iter().enumerate() {
            params[4 + i] = match indexing {
                Indexing::Stretch => *period as u32,
                _ => (period / lanes).max(1) as u32,
            };
            let strides = broadcast_strides(self.shape(node.inputs[i]), &shape);
            for (d, stride) in strides.iter().rev().enumerate() {
                params[20 + 8 * i + d] = *stride as u32;
            }
        }
        for d in 0..8 {
            params[12 + d] = shape.iter().rev().nth(d).map_or(1, |&n| n.max(1) as u32);
        }
        let mut bound = Vec::new();
        for (i, &id) in node.inputs.iter().enumerate() {
            bound.push((i as u32 + 1, self.plain(op, id)?));
        }
        let along = found.iter().zip(1..);
        let along = along.filter(|((indexing, _), _)| *indexing == Indexing::Along);
        let mut of: Vec<u32> = along.map(|(_, number)| number).collect();
        let by_parts = found
            .iter()
            .all(|(indexing, _)| matches!(indexing, Indexing::Along | Indexing::One));
        let number = types.len() as u32 + 1;
        of.push(number);
        let place = match by_parts {
            true => self.make_large(op, to)?,
            false => {
                self.check_inputs(node)?;
                self.make(op, to)?
            }
        };
        bound.push((number, place));
        let inputs = types.into_iter().zip(found).map(|(t, (i, _))| (t, i));
        let kernel = Kernel::Elementwise(Elementwise {
            inputs: inputs.collect(),
            output,
            vec4,
            body,
            workgroup: WORKGROUP,
        });
        let most = self.most_elements();
        if count <= most {
            self.push(kernel, params, &bound, Work::Invocations(count / lanes));
            return Ok(());
        }
        // Beyond a binding, part by part.
        for first in (0..count).step_by(most) {
            let own = most.min(count - first);
            params[0] = (own / lanes) as u32;
            self.dispatches.push(Dispatch {
                kernel: kernel.clone(),
                params: params.clone(),
                bound: bound.clone(),
                work: Work::Invocations(own / lanes),
                part: Some(Part {
                    of: of.clone(),
                    offset: 4 * first as u64,
                    bytes: 4 * own as u64,
                }),
            });
        }
        Ok(())
    }
}

/// How an input of `shape` is read for an output of `to`, and the period if there is one.
fn indexing(shape: &[usize], to: &[usize]) -> (Indexing, usize) {
    let elements: usize = shape.iter().product();
    let count: usize = to.iter().product();
    let leading = shape.iter().take_while(|&&n| n == 1).count();
    let trimmed = &shape[leading..];
    if elements == 1 {
        (Indexing::One, 1)
    } else if elements == count {
        (Indexing::Along, 1)
    } else if to.ends_with(trimmed) {
        (Indexing::Repeat, elements)
    } else {
        let trailing = shape.iter().rev().take_while(|&&n| n == 1).count();
        let kept = &shape[..shape.len() - trailing];
        if shape.len() == to.len() && to.starts_with(kept) {
            (Indexing::Stretch, to[kept.len()..].iter().product())
        } else {
            (Indexing::Strided, 1)
        }
    }
}

/// The statements that compute `r` from `x0`, `x1`, …; `None` where the types have no such operator here.
fn body(op: &Op, types: &[InputType], plain: Option<DataType>) -> Option<String> {
    let t = *types.first()?;
    let expression = match op {
        Op::Unary(op) => unary(*op, t, "x0")?,
        Op::Binary(op) => binary(*op, t, "x0", "x1")?,
        Op::Compare(op) => {
            let sign = match op {
                Compare::Equal => "==",
                Compare::NotEqual => "!=",
                Compare::Greater => ">",
                Compare::GreaterOrEqual => ">=",
                Compare::Lesser => "<",
                Compare::LesserOrEqual => "<=",
            };
            // Devices may take it that there is no NaN, which is told by its bits.
            let nan = |x: &str| format!("(bitcast<u32>({x}) & 0x7fffffffu) > 0x7f800000u");
            let either = format!("({} || {})", nan("x0"), nan("x1"));
            match (t, op) {
                (InputType::F32, Compare::NotEqual) => {
                    format!("select(0u, 1u, x0 != x1 || {either})")
                }
                (InputType::F32, _) => format!("select(0u, 1u, x0 {sign} x1 && !{either})"),
                _ => format!("select(0u, 1u, x0 {sign} x1)"),
            }
        }
        Op::Logical(op) => {
            let sign = match op {
                Logical::And => "&",
                Logical::Or => "|",
                Logical::Xor => "!=",
            };
            format!("select(0u, 1u, (x0 != 0u) {sign} (x1 != 0u))")
        }
        Op::Clamp { min, max } => match t {
            InputType::F32 => format!("f_clamp(x0, F({}), F({}))", number(*min), number(*max)),
            // A float's `as` limits to the integer's range, which is what an open bound means.
            InputType::I32 => format!("clamp(x0, {}, {})", int(*min as i32), int(*max as i32)),
            InputType::U32 => format!("clamp(x0, {}u, {}u)", *min as u32, *max as u32),
        },
        Op::Where => "select(x2, x1, x0 != 0u)".to_owned(),
        Op::Cast { to } => cast(plain?, t, *to)?,
        Op::Fused(fused) => return fused_body(fused),
        Op::Extension(Extension::Atan) => "atan(x0)".to_owned(),
        Op::Extension(Extension::Bitwise(op)) => match op {
            Bitwise::And => "x0 & x1".to_owned(),
            Bitwise::Or => "x0 | x1".to_owned(),
            Bitwise::Xor => "x0 ^ x1".to_owned(),
        },
        Op::Extension(Extension::Bitcast { to }) => bitcast(plain?, *to)?,
        _ => return None,
    };
    Some(format!("  let r = {expression};"))
}

/// Arithmetic over integers of fewer bits than the device's wraps in theirs.
fn wrapped(op: &Op, body: String, to: DataType) -> Option<String> {
    let arithmetic = matches!(op, Op::Unary(_) | Op::Binary(_));
    if !arithmetic || to.is_float() || to.bytes() >= 4 {
        return Some(body);
    }
    let (wide, t) = match device_type(to)? {
        InputType::U32 => (DataType::U32, InputType::U32),
        _ => (DataType::I32, InputType::I32),
    };
    let narrow = cast(wide, t, to)?;
    let body = body.replace("let r = ", "let x = ");
    Some(format!("{body}\n  let r = {};", narrow.replace("x0", "x")))
}

fn fused_body(fused: &Fused) -> Option<String> {
    let mut text = String::new();
    let operand = |operand: &Operand| match operand {
        Operand::Input(i) => format!("x{i}"),
        Operand::Step(i) => format!("t{i}"),
        Operand::Number(value) => format!("F({})", number(*value)),
    };
    for (i, step) in fused.steps.iter().enumerate() {
        let expression = match step {
            Step::Unary(op, x) => unary(*op, InputType::F32, &operand(x))?,
            Step::Binary(op, a, b) => binary(*op, InputType::F32, &operand(a), &operand(b))?,
            Step::Clamp(x, min, max) => format!(
                "f_clamp({}, F({}), F({}))",
                operand(x),
                number(*min),
                number(*max)
            ),
        };
        let _ = writeln!(text, "  let t{i} = {expression};");
    }
    let last = fused.steps.len().checked_sub(1)?;
    let _ = write!(text, "  let r = t{last};");
    Some(text)
}

fn unary(op: Unary, t: InputType, x: &str) -> Option<String> {
    if t != InputType::F32 {
        return match op {
            Unary::Identity => Some(x.to_owned()),
            Unary::Abs if t == InputType::U32 => Some(x.to_owned()),
            Unary::Abs => Some(format!("abs({x})")),
            Unary::Relu if t == InputType::I32 => Some(format!("max({x}, 0)")),
            Unary::Relu => Some(x.to_owned()),
            Unary::Neg if t == InputType::I32 => Some(format!("-({x})")),
            _ => None,
        };
    }
    Some(match op {
        Unary::Identity => x.to_owned(),
        Unary::Neg => format!("-({x})"),
        Unary::Reciprocal => format!("F(1.0) / ({x})"),
        Unary::Erf => format!("f_erf({x})"),
        Unary::Exp => format!("f_exp({x})"),
        Unary::Gelu => format!("f_gelu({x})"),
        Unary::Log => format!("f_log({x})"),
        Unary::Relu => format!("f_relu({x})"),
        Unary::Sigmoid => format!("f_sigmoid({x})"),
        Unary::Silu => format!("f_silu({x})"),
        Unary::Tanh => format!("f_tanh({x})"),
        Unary::Cos | Unary::Sin | Unary::Tan => format!("f_{}({x})", op.name()),
        Unary::Abs | Unary::Ceil | Unary::Floor | Unary::Sqrt => format!("{}({x})", op.name()),
    })
}

fn binary(op: Binary, t: InputType, a: &str, b: &str) -> Option<String> {
    let float = t == InputType::F32;
    Some(match op {
        Binary::Add => format!("{a} + {b}"),
        Binary::Sub => format!("{a} - {b}"),
        Binary::Mul => format!("{a} * {b}"),
        Binary::Div => format!("{a} / {b}"),
        Binary::Max if float => format!("f_max({a}, {b})"),
        Binary::Min if float => format!("f_min({a}, {b})"),
        Binary::Pow if float => format!("f_pow({a}, {b})"),
        Binary::Max => format!("max({a}, {b})"),
        Binary::Min => format!("min({a}, {b})"),
        Binary::Pow if t == InputType::I32 => format!("i_pow({a}, {b})"),
        Binary::Pow => format!("u_pow({a}, {b})"),
    })
}

/// What a cast does to an element of device type `t`, whose type in the graph is `from`.
fn cast(from: DataType, t: InputType, to: DataType) -> Option<String> {
    if from == to {
        return Some("x0".to_owned());
    }
    let signed = match t {
        InputType::I32 => "x0",
        _ => "i32(x0)",
    };
    let unsigned = match t {
        InputType::U32 => "x0".to_owned(),
        InputType::I32 => "bitcast<u32>(x0)".to_owned(),
        // By way of i32, so that a negative number wraps and does not stick at 0.
        InputType::F32 => "select(u32(x0), bitcast<u32>(i32(x0)), x0 < 0.0)".to_owned(),
    };
    Some(match to {
        DataType::F32 => "f32(x0)".to_owned(),
        DataType::F16 => "f_half(f32(x0))".to_owned(),
        // To the nearest, ties to even, on the bits.
        DataType::Bf16 => "bitcast<f32>((bitcast<u32>(f32(x0)) + 0x7fffu + \
                           ((bitcast<u32>(f32(x0)) >> 16u) & 1u)) & 0xffff0000u)"
            .to_owned(),
        DataType::I64 | DataType::I32 => signed.to_owned(),
        DataType::I16 => format!("({signed} << 16u) >> 16u"),
        DataType::I8 => format!("({signed} << 24u) >> 24u"),
        DataType::U64 | DataType::U32 => unsigned,
        DataType::U16 => format!("{unsigned} & 0xffffu"),
        DataType::U8 => format!("{unsigned} & 0xffu"),
        DataType::I4 => format!("({signed} << 28u) >> 28u"),
        DataType::U4 => format!("{unsigned} & 0xfu"),
        DataType::Bool => "u32(x0 != ".to_owned() + t.wgsl() + "(0))",
        DataType::F64 => return None,
    })
}

/// The same bits as another type: where they are as wide on the device, and integers among each other.
fn bitcast(from: DataType, to: DataType) -> Option<String> {
    let (source, target) = (device_type(from)?, device_type(to)?);
    match from.bytes() {
        4 => Some(format!("bitcast<{}>(x0)", target.wgsl())),
        // Integers of fewer bits wrap as in a cast.
        1 | 2 if !from.is_float() && !to.is_float() => cast(from, source, to),
        _ => None,
    }
}

/// A float literal. WGSL has none for infinities: the largest numbers stand for them.
fn number(value: f32) -> String {
    let value = if value.is_nan() { 0.0 } else { value };
    let value = value.clamp(f32::MIN, f32::MAX);
    // The shortest digits of the greatest number are more than it, which is no f32 to a strict reader.
    match value.abs() == f32::MAX {
        true => format!("{:e}f", f64::from(value)),
        false => format!("{value:?}f"),
    }
}

/// An i32 literal; the smallest cannot be written as the negative of a literal.
fn int(value: i32) -> String {
    format!("bitcast<i32>({}u)", value as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_indexed_by_how_they_broadcast() {
        assert_eq!(indexing(&[2, 3, 4], &[2, 3, 4]), (Indexing::Along, 1));
        assert_eq!(indexing(&[1, 1], &[2, 3, 4]), (Indexing::One, 1));
        assert_eq!(indexing(&[1, 3, 4], &[2, 3, 4]), (Indexing::Repeat, 12));
        assert_eq!(indexing(&[4], &[2, 3, 4]), (Indexing::Repeat, 4));
        assert_eq!(indexing(&[2, 3, 1], &[2, 3, 4]), (Indexing::Stretch, 4));
        assert_eq!(indexing(&[2, 1, 1], &[2, 3, 4]), (Indexing::Stretch, 12));
        assert_eq!(indexing(&[2, 1, 4], &[2, 3, 4]), (Indexing::Strided, 1));
        assert_eq!(indexing(&[3, 1], &[2, 3, 4]), (Indexing::Strided, 1));
    }

    #[test]
    fn literals_are_finite() {
        assert_eq!(number(f32::NEG_INFINITY), "-3.4028234663852886e38f");
        assert_eq!(number(0.5), "0.5f");
        assert_eq!(number(1e-5), "1e-5f");
    }
}

//! Recurrent layers, step by step: what they compute of all steps at once is computed before.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::{Binary, Compare, Unary};
use fewbit_engine::tensor::DataType;

use super::activation::{log_of_one_and_exp, named};
use crate::import::context::{Context, MOST_STEPS, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::Node;
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::widened("LSTM", 7, layer),
    Entry::widened("GRU", 7, layer),
    Entry::widened("RNN", 7, layer),
];

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Lstm,
    Gru,
    Rnn,
}

/// An activation function with its two numbers.
#[derive(Clone)]
struct Activation {
    name: String,
    alpha: f64,
    beta: f64,
}

struct Settings {
    kind: Kind,
    hidden: usize,
    clip: Option<f32>,
    /// Of a GRU: the reset gate acts on the product, not on its operand.
    linear_before_reset: bool,
    /// Of an LSTM: the forget gate is what the input gate leaves.
    input_forget: bool,
    steps: usize,
    batch: usize,
}

/// One direction's weights and state.
struct Direction {
    /// `x · Wᵀ` and the bias of the input side, `[steps, batch, gates · hidden]`.
    inputs: Value,
    /// `[hidden, gates · hidden]`
    recurrent: Value,
    /// `[gates · hidden]`
    bias: Option<Value>,
    /// Of an LSTM, `[3 · hidden]`.
    peephole: Option<Value>,
    h: Value,
    c: Value,
    activations: Vec<Activation>,
    backwards: bool,
}

fn layer(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, w, r) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let (bias, lengths, first) = (node.optional(3), node.optional(4), node.optional(5));
    let (kind, gates) = match node.op_type() {
        "LSTM" => (Kind::Lstm, 4),
        "GRU" => (Kind::Gru, 3),
        _ => (Kind::Rnn, 1),
    };
    let (cell, peephole) = match kind {
        Kind::Lstm => (node.optional(6), node.optional(7)),
        _ => (None, None),
    };
    let by_batch = node.flag("layout", false)?;
    let turn = |cx: &mut Context, v: Option<Value>| match v {
        Some(v) if by_batch => cx.transpose(v, &[1, 0, 2]).map(Some),
        v => Ok(v),
    };
    let x = turn(cx, Some(x))?.unwrap_or(x);
    let (first, cell) = (turn(cx, first)?, turn(cx, cell)?);
    let (shape, weights, back) = (cx.shape(x)?, cx.shape(w)?, cx.shape(r)?);
    let (&[steps, batch, size], &[directions, rows, same], &[also, again, hidden]) =
        (&shape[..], &weights[..], &back[..])
    else {
        return wrong(format!("shapes {shape:?}, {weights:?}, {back:?}"));
    };
    let fits = same == size && also == directions && rows == gates * hidden && again == rows;
    let given = node.int("hidden_size", hidden as i64)?;
    if !fits || given != hidden as i64 {
        return wrong(format!("weights {weights:?} and {back:?} for {shape:?}"));
    }
    if steps > MOST_STEPS || steps == 0 {
        return unsupported(format!("{steps} steps"));
    }
    let backwards: &[bool] = match node.word("direction", "forward")?.as_str() {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        other => return wrong(format!("direction {other:?}")),
    };
    if backwards.len() != directions {
        return wrong(format!("{directions} directions"));
    }
    let settings = Settings {
        kind,
        hidden,
        clip: node.float_or_none("clip")?,
        linear_before_reset: kind == Kind::Gru && node.flag("linear_before_reset", false)?,
        input_forget: kind == Kind::Lstm && node.flag("input_forget", false)?,
        steps,
        batch,
    };
    let functions = activations(node, kind, directions)?;
    let kept = match lengths {
        Some(lengths) => {
            let lengths = cx.cast(lengths, DataType::I64)?;
            let lengths = cx.reshape(lengths, &[1, batch, 1])?;
            let step = cx.iota(steps, 0, 3)?;
            Some(cx.compare(Compare::Lesser, step, lengths)?)
        }
        None => None,
    };
    let (mut outputs, mut last, mut cells) = (Vec::new(), Vec::new(), Vec::new());
    for (at, &backwards) in backwards.iter().enumerate() {
        let own = |cx: &mut Context, v: Value, shape: &[usize]| {
            let part = cx.slice(v, 0, at, 1)?;
            cx.reshape(part, shape)
        };
        let state = |cx: &mut Context, v: Option<Value>| match v {
            Some(v) => own(cx, v, &[batch, hidden]),
            None => cx.zeros(&[batch, hidden], x.data_type),
        };
        let (wide, deep) = (own(cx, w, &[rows, size])?, own(cx, r, &[rows, hidden])?);
        let wide = cx.swapped(wide)?;
        let mut inputs = cx.matmul(x, wide)?;
        let mut side = None;
        if let Some(bias) = bias {
            let both = own(cx, bias, &[2 * rows])?;
            let (a, b) = (cx.slice(both, 0, 0, rows)?, cx.slice(both, 0, rows, rows)?);
            inputs = cx.add(inputs, a)?;
            side = Some(b);
        }
        let direction = Direction {
            inputs,
            recurrent: cx.swapped(deep)?,
            bias: side,
            peephole: match peephole {
                Some(p) => Some(own(cx, p, &[3 * hidden])?),
                None => None,
            },
            h: state(cx, first)?,
            c: state(cx, cell)?,
            activations: functions[at * functions.len() / directions..].to_vec(),
            backwards,
        };
        let (y, h, c) = run(cx, &settings, direction, kept)?;
        outputs.push(cx.reshape(y, &[steps, 1, batch, hidden])?);
        last.push(cx.reshape(h, &[1, batch, hidden])?);
        cells.push(cx.reshape(c, &[1, batch, hidden])?);
    }
    let mut y = cx.concat(&outputs, 1)?;
    let (mut h, mut c) = (cx.concat(&last, 0)?, cx.concat(&cells, 0)?);
    if by_batch {
        y = cx.transpose(y, &[2, 0, 1, 3])?;
        h = cx.transpose(h, &[1, 0, 2])?;
        c = cx.transpose(c, &[1, 0, 2])?;
    }
    Ok(match kind {
        Kind::Lstm => vec![y, h, c],
        _ => vec![y, h],
    })
}

/// The functions of all directions; their numbers are given to those that take one, in order.
fn activations(node: &Node<'_>, kind: Kind, directions: usize) -> Result<Vec<Activation>, Refusal> {
    let default: &[&str] = match kind {
        Kind::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        Kind::Gru => &["Sigmoid", "Tanh"],
        Kind::Rnn => &["Tanh"],
    };
    let names = match node.words("activations")? {
        Some(names) => names,
        None => default
            .repeat(directions)
            .iter()
            .map(|&n| n.to_owned())
            .collect(),
    };
    if names.len() != default.len() * directions {
        return wrong(format!("activations {names:?}"));
    }
    let mut alphas = node
        .floats("activation_alpha")?
        .unwrap_or_default()
        .into_iter();
    let mut betas = node
        .floats("activation_beta")?
        .unwrap_or_default()
        .into_iter();
    let mut functions = Vec::new();
    for name in names {
        let name = name.to_lowercase();
        let (alpha, beta) = match name.as_str() {
            "sigmoid" | "tanh" | "relu" | "softsign" | "softplus" => (None, None),
            "leakyrelu" => (Some(0.01), None),
            "elu" | "thresholdedrelu" => (Some(1.0), None),
            "hardsigmoid" => (Some(0.2), Some(0.5)),
            "scaledtanh" | "affine" => (Some(1.0), Some(1.0)),
            _ => return unsupported(format!("activation {name:?}")),
        };
        let beta = match name.as_str() {
            "affine" => Some(0.0),
            _ => beta,
        };
        let number = |default: Option<f64>, given: &mut std::vec::IntoIter<f32>| match default {
            Some(default) => given.next().map_or(default, f64::from),
            None => 0.0,
        };
        functions.push(Activation {
            alpha: number(alpha, &mut alphas),
            beta: number(beta, &mut betas),
            name,
        });
    }
    Ok(functions)
}

fn activated(cx: &mut Context, settings: &Settings, f: &Activation, x: Value) -> Made {
    let x = match settings.clip {
        Some(most) => cx.op(
            Op::Clamp {
                min: -most,
                max: most,
            },
            &[x],
            x.data_type,
        )?,
        None => x,
    };
    match f.name.as_str() {
        "sigmoid" => cx.unary(Unary::Sigmoid, x),
        "tanh" => cx.unary(Unary::Tanh, x),
        "relu" => cx.unary(Unary::Relu, x),
        "softplus" => log_of_one_and_exp(cx, x),
        "affine" => {
            let y = cx.with(Binary::Mul, x, f.alpha)?;
            cx.with(Binary::Add, y, f.beta)
        }
        "scaledtanh" => {
            let y = cx.with(Binary::Mul, x, f.beta)?;
            let y = cx.unary(Unary::Tanh, y)?;
            cx.with(Binary::Mul, y, f.alpha)
        }
        name => named(cx, name, x, f.alpha, f.beta),
    }
}

/// All steps of a direction: what each gives, and the state after the last.
fn run(
    cx: &mut Context,
    settings: &Settings,
    mut direction: Direction,
    kept: Option<Value>,
) -> Result<(Value, Value, Value), Refusal> {
    let (batch, rows) = (settings.batch, cx.shape(direction.recurrent)?[1]);
    let mut made = Vec::new();
    for at in 0..settings.steps {
        let step = if direction.backwards {
            settings.steps - 1 - at
        } else {
            at
        };
        let input = cx.slice(direction.inputs, 0, step, 1)?;
        let input = cx.reshape(input, &[batch, rows])?;
        let (mut h, mut c) = match settings.kind {
            Kind::Lstm => lstm(cx, settings, &direction, input)?,
            Kind::Gru => (gru(cx, settings, &direction, input)?, direction.c),
            Kind::Rnn => {
                let sum = recurrent(cx, &direction, direction.h, 0, rows)?;
                let sum = cx.add(sum, input)?;
                let h = activated(cx, settings, &direction.activations[0], sum)?;
                (h, direction.c)
            }
        };
        let mut y = h;
        if let Some(kept) = kept {
            // Beyond a sequence's end its state stays, and its output is 0.
            let kept = cx.slice(kept, 0, step, 1)?;
            let kept = cx.reshape(kept, &[batch, 1])?;
            let zero = cx.number(0.0, h.data_type)?;
            y = cx.select(kept, h, zero)?;
            h = cx.select(kept, h, direction.h)?;
            c = cx.select(kept, c, direction.c)?;
        }
        (direction.h, direction.c) = (h, c);
        made.push(cx.reshape(y, &[1, batch, settings.hidden])?);
    }
    if direction.backwards {
        made.reverse();
    }
    Ok((cx.concat(&made, 0)?, direction.h, direction.c))
}

/// `h · Rᵀ` and the recurrent bias, of so many rows from one on.
fn recurrent(cx: &mut Context, direction: &Direction, h: Value, from: usize, rows: usize) -> Made {
    let weight = cx.slice(direction.recurrent, 1, from, rows)?;
    let y = cx.matmul(h, weight)?;
    match direction.bias {
        Some(bias) => {
            let bias = cx.slice(bias, 0, from, rows)?;
            cx.add(y, bias)
        }
        None => Ok(y),
    }
}

fn lstm(
    cx: &mut Context,
    settings: &Settings,
    direction: &Direction,
    input: Value,
) -> Result<(Value, Value), Refusal> {
    let n = settings.hidden;
    let sum = recurrent(cx, direction, direction.h, 0, 4 * n)?;
    let sum = cx.add(sum, input)?;
    // In the order input, output, forget, cell.
    let gate = |cx: &mut Context, at: usize| cx.slice(sum, 1, at * n, n);
    let seen = |cx: &mut Context, gate: Value, at: usize, c: Value| match direction.peephole {
        Some(peephole) => {
            let weight = cx.slice(peephole, 0, at * n, n)?;
            let part = cx.mul(weight, c)?;
            cx.add(gate, part)
        }
        None => Ok(gate),
    };
    let [f, g, h] = [0, 1, 2].map(|at| &direction.activations[at]);
    let i = gate(cx, 0)?;
    let i = seen(cx, i, 0, direction.c)?;
    let i = activated(cx, settings, f, i)?;
    let forget = match settings.input_forget {
        true => {
            let negative = cx.unary(Unary::Neg, i)?;
            cx.with(Binary::Add, negative, 1.0)?
        }
        false => {
            let forget = gate(cx, 2)?;
            let forget = seen(cx, forget, 2, direction.c)?;
            activated(cx, settings, f, forget)?
        }
    };
    let new = gate(cx, 3)?;
    let new = activated(cx, settings, g, new)?;
    let (old, new) = (cx.mul(forget, direction.c)?, cx.mul(i, new)?);
    let c = cx.add(old, new)?;
    let o = gate(cx, 1)?;
    let o = seen(cx, o, 1, c)?;
    let o = activated(cx, settings, f, o)?;
    let out = activated(cx, settings, h, c)?;
    Ok((cx.mul(o, out)?, c))
}

fn gru(cx: &mut Context, settings: &Settings, direction: &Direction, input: Value) -> Made {
    let n = settings.hidden;
    let [f, g] = [0, 1].map(|at| &direction.activations[at]);
    // In the order update, reset, hidden.
    let gates = recurrent(cx, direction, direction.h, 0, 2 * n)?;
    let early = cx.slice(input, 1, 0, 2 * n)?;
    let gates = cx.add(gates, early)?;
    let gates = activated(cx, settings, f, gates)?;
    let (update, reset) = (cx.slice(gates, 1, 0, n)?, cx.slice(gates, 1, n, n)?);
    let back = match settings.linear_before_reset {
        true => {
            let back = recurrent(cx, direction, direction.h, 2 * n, n)?;
            cx.mul(reset, back)?
        }
        false => {
            let h = cx.mul(reset, direction.h)?;
            recurrent(cx, direction, h, 2 * n, n)?
        }
    };
    let late = cx.slice(input, 1, 2 * n, n)?;
    let new = cx.add(late, back)?;
    let new = activated(cx, settings, g, new)?;
    // (1 − z) · new + z · h
    let change = cx.sub(direction.h, new)?;
    let change = cx.mul(update, change)?;
    cx.add(new, change)
}

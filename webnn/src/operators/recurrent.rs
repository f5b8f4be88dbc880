//! Recurrent networks, as many steps as the input has, computed in f32.

use fewbit_engine::graph::ValueId;
use fewbit_engine::graph::op::{Binary, Unary};
use fewbit_engine::tensor::DataType as Element;

use super::{Call, In, Outputs, ranked, shaped};
use crate::emit::{Emit, Made};
use crate::error::{Fault, beyond, rule};
use crate::types::valid_dimension;

/// A graph of more steps would have too many nodes.
const MOST_STEPS: usize = 4096;

/// What computes a step of one direction.
struct Cell {
    hidden: usize,
    /// `[inputs, gates · hidden]`, `[hidden, gates · hidden]`
    weight: ValueId,
    recurrent: ValueId,
    /// `[gates · hidden]`
    bias: Option<ValueId>,
    recurrent_bias: Option<ValueId>,
    /// `[3 · hidden]`: of input, output and forget gate.
    peephole: Option<ValueId>,
    /// Where each gate is among the rows: update, reset, new; or input, output, forget, cell.
    order: [usize; 4],
    functions: Vec<Unary>,
    reset_after: bool,
}

const FUNCTIONS: [(&str, Unary); 3] = [
    ("relu", Unary::Relu),
    ("sigmoid", Unary::Sigmoid),
    ("tanh", Unary::Tanh),
];

fn functions(call: &Call<'_>, default: &[Unary]) -> Result<Vec<Unary>, Fault> {
    let Some(value) = call.option("activations") else {
        return Ok(default.to_vec());
    };
    let names = value.list("activations")?.iter();
    let functions: Result<Vec<Unary>, Fault> = names
        .map(|name| name.one_of("activations", &FUNCTIONS))
        .collect();
    let functions = functions?;
    rule(functions.len() == default.len(), || {
        let (given, wanted) = (functions.len(), default.len());
        format!("activations' size is {given}, not {wanted}")
    })?;
    Ok(functions)
}

fn gru_order(call: &Call<'_>) -> Result<[usize; 4], Fault> {
    let layouts = [("zrn", [0, 1, 2, 3]), ("rzn", [1, 0, 2, 3])];
    call.option_one_of("layout", &layouts, [0, 1, 2, 3])
}

fn lstm_order(call: &Call<'_>) -> Result<[usize; 4], Fault> {
    let layouts = [("iofg", [0, 1, 2, 3]), ("ifgo", [0, 3, 1, 2])];
    call.option_one_of("layout", &layouts, [0, 1, 2, 3])
}

/// The operands that all of them have, of a cell or of `directions` of them.
struct Parts {
    x: In,
    hidden: usize,
    weight: In,
    recurrent: In,
    bias: Option<In>,
    recurrent_bias: Option<In>,
    peephole: Option<In>,
}

fn parts(
    call: &mut Call<'_>,
    gates: usize,
    directions: Option<usize>,
    hidden: usize,
) -> Result<Parts, Fault> {
    let rank = 2 + usize::from(directions.is_some());
    let x = call.float_of_rank(0, "input", rank)?;
    valid_dimension(hidden as u64 * 2 * gates as u64)?;
    let shape = |rest: &[usize]| {
        let mut shape: Vec<usize> = directions.into_iter().collect();
        shape.extend(rest);
        shape
    };
    let rows = gates * hidden;
    let weight = call.operand_like(1, "weight", &x)?;
    shaped("weight", &weight, &shape(&[rows, x.shape[rank - 1]]))?;
    let recurrent = call.operand_like(2, "recurrentWeight", &x)?;
    shaped("recurrentWeight", &recurrent, &shape(&[rows, hidden]))?;
    let bias = call.option_operand("bias", &x, &shape(&[rows]))?;
    let recurrent_bias = call.option_operand("recurrentBias", &x, &shape(&[rows]))?;
    let peephole = match gates {
        4 => call.option_operand("peepholeWeight", &x, &shape(&[3 * hidden]))?,
        _ => None,
    };
    Ok(Parts {
        x,
        hidden,
        weight,
        recurrent,
        bias,
        recurrent_bias,
        peephole,
    })
}

impl Parts {
    /// The cell of a direction, in f32.
    fn cell(
        &self,
        emit: &mut Emit,
        direction: Option<usize>,
        order: [usize; 4],
        functions: Vec<Unary>,
        reset_after: bool,
    ) -> Result<Cell, Fault> {
        let own = |emit: &mut Emit, x: &In| -> Made {
            let wide = emit.cast(x.value, Element::F32)?;
            match direction {
                Some(direction) => {
                    let part = emit.part(wide, 0, direction, 1)?;
                    emit.reshape(part, &x.shape[1..])
                }
                None => Ok(wide),
            }
        };
        let matrix = |emit: &mut Emit, x: &In| -> Made {
            let x = own(emit, x)?;
            emit.transpose(x, &[1, 0])
        };
        let optional =
            |emit: &mut Emit, x: &Option<In>| x.as_ref().map(|x| own(emit, x)).transpose();
        Ok(Cell {
            hidden: self.hidden,
            bias: optional(emit, &self.bias)?,
            recurrent_bias: optional(emit, &self.recurrent_bias)?,
            peephole: optional(emit, &self.peephole)?,
            weight: matrix(emit, &self.weight)?,
            recurrent: matrix(emit, &self.recurrent)?,
            order,
            functions,
            reset_after,
        })
    }
}

impl Cell {
    /// `x · Wᵀ + b` of one gate, by weights and biases of all.
    fn gate(
        &self,
        emit: &mut Emit,
        at: usize,
        x: ValueId,
        weight: ValueId,
        bias: Option<ValueId>,
    ) -> Made {
        let first = self.order[at] * self.hidden;
        let weight = emit.part(weight, 1, first, self.hidden)?;
        let y = emit.matmul(x, weight)?;
        match bias {
            Some(bias) => {
                let bias = emit.part(bias, 0, first, self.hidden)?;
                emit.add(y, bias)
            }
            None => Ok(y),
        }
    }

    fn forward(&self, emit: &mut Emit, at: usize, x: ValueId) -> Made {
        self.gate(emit, at, x, self.weight, self.bias)
    }

    fn back(&self, emit: &mut Emit, at: usize, h: ValueId) -> Made {
        self.gate(emit, at, h, self.recurrent, self.recurrent_bias)
    }

    fn both(&self, emit: &mut Emit, at: usize, x: ValueId, h: ValueId) -> Made {
        let (a, b) = (self.forward(emit, at, x)?, self.back(emit, at, h)?);
        emit.add(a, b)
    }

    /// The hidden state after a step of a gated recurrent unit.
    fn gru(&self, emit: &mut Emit, x: ValueId, h: ValueId) -> Made {
        let update = self.both(emit, 0, x, h)?;
        let update = emit.unary(self.functions[0], update)?;
        let reset = self.both(emit, 1, x, h)?;
        let reset = emit.unary(self.functions[0], reset)?;
        let back = match self.reset_after {
            true => {
                let back = self.back(emit, 2, h)?;
                emit.mul(reset, back)?
            }
            false => {
                let h = emit.mul(reset, h)?;
                self.back(emit, 2, h)?
            }
        };
        let new = self.forward(emit, 2, x)?;
        let new = emit.add(new, back)?;
        let new = emit.unary(self.functions[1], new)?;
        let kept = emit.unary(Unary::Neg, update)?;
        let kept = emit.with(Binary::Add, kept, 1.0)?;
        let (new, old) = (emit.mul(kept, new)?, emit.mul(update, h)?);
        emit.add(new, old)
    }

    /// Hidden and cell state after a step of a long short-term memory.
    fn lstm(
        &self,
        emit: &mut Emit,
        x: ValueId,
        [h, c]: [ValueId; 2],
    ) -> Result<[ValueId; 2], Fault> {
        let mut gates = [x; 4];
        for (at, gate) in gates.iter_mut().enumerate() {
            let mut sum = self.both(emit, at, x, h)?;
            // The cell gate sees no cell state.
            if let Some(peephole) = self.peephole.filter(|_| at < 3) {
                let weight = emit.part(peephole, 0, at * self.hidden, self.hidden)?;
                let seen = emit.mul(weight, c)?;
                sum = emit.add(sum, seen)?;
            }
            let function = self.functions[usize::from(at == 3)];
            *gate = emit.unary(function, sum)?;
        }
        let [input, output, forget, new] = gates;
        let (old, new) = (emit.mul(forget, c)?, emit.mul(input, new)?);
        let c = emit.add(old, new)?;
        let seen = emit.unary(self.functions[2], c)?;
        Ok([emit.mul(output, seen)?, c])
    }
}

const GRU: &[Unary] = &[Unary::Sigmoid, Unary::Tanh];
const LSTM: &[Unary] = &[Unary::Sigmoid, Unary::Tanh, Unary::Tanh];

fn state(call: &mut Call<'_>, at: usize, name: &str, x: &In, hidden: usize) -> Result<In, Fault> {
    let state = call.operand_like(at, name, x)?;
    ranked(name, &state, 2)?;
    shaped(name, &state, &[x.shape[0], hidden])?;
    Ok(state)
}

pub(super) fn gru_cell(call: &mut Call<'_>) -> Outputs {
    let hidden = call.argument(4).unsigned_long("hiddenSize")?;
    let parts = parts(call, 3, None, hidden)?;
    let h = state(call, 3, "hiddenState", &parts.x, hidden)?;
    let (order, functions) = (gru_order(call)?, functions(call, GRU)?);
    let reset_after = call.option_flag("resetAfter", true);
    let emit = call.emit();
    let cell = parts.cell(emit, None, order, functions, reset_after)?;
    let x = emit.cast(parts.x.value, Element::F32)?;
    let h = emit.cast(h.value, Element::F32)?;
    let h = cell.gru(emit, x, h)?;
    Ok(vec![emit.cast(h, parts.x.data_type.engine())?])
}

pub(super) fn lstm_cell(call: &mut Call<'_>) -> Outputs {
    let hidden = call.argument(5).unsigned_long("hiddenSize")?;
    let parts = parts(call, 4, None, hidden)?;
    let h = state(call, 3, "hiddenState", &parts.x, hidden)?;
    let c = state(call, 4, "cellState", &parts.x, hidden)?;
    let (order, functions) = (lstm_order(call)?, functions(call, LSTM)?);
    let emit = call.emit();
    let cell = parts.cell(emit, None, order, functions, true)?;
    let x = emit.cast(parts.x.value, Element::F32)?;
    let states = [
        emit.cast(h.value, Element::F32)?,
        emit.cast(c.value, Element::F32)?,
    ];
    let states = cell.lstm(emit, x, states)?;
    let to = parts.x.data_type.engine();
    states
        .into_iter()
        .map(|state| emit.cast(state, to))
        .collect()
}

pub(super) fn gru(call: &mut Call<'_>) -> Outputs {
    network(call, 3)
}

pub(super) fn lstm(call: &mut Call<'_>) -> Outputs {
    network(call, 4)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
    Both,
}

/// A network of one kind of cell, which its number of gates tells.
fn network(call: &mut Call<'_>, gates: usize) -> Outputs {
    let is_lstm = gates == 4;
    let steps = call.argument(3).unsigned_long("steps")?;
    rule(steps > 0, || "steps is 0".into())?;
    let hidden = call.argument(4).unsigned_long("hiddenSize")?;
    let names = [
        ("forward", Direction::Forward),
        ("backward", Direction::Backward),
        ("both", Direction::Both),
    ];
    let direction = call.option_one_of("direction", &names, Direction::Forward)?;
    let backwards: &[bool] = match direction {
        Direction::Forward => &[false],
        Direction::Backward => &[true],
        Direction::Both => &[false, true],
    };
    let directions = backwards.len();
    let parts = parts(call, gates, Some(directions), hidden)?;
    let x = &parts.x;
    rule(x.shape[0] == steps, || {
        format!("the input has {} steps, not {steps}", x.shape[0])
    })?;
    let batch = x.shape[1];
    let first = [directions, batch, hidden];
    let h = call.option_operand("initialHiddenState", x, &first)?;
    let (order, functions, c) = match is_lstm {
        true => {
            let c = call.option_operand("initialCellState", x, &first)?;
            (lstm_order(call)?, functions(call, LSTM)?, c)
        }
        false => (gru_order(call)?, functions(call, GRU)?, None),
    };
    let reset_after = call.option_flag("resetAfter", true);
    let sequence = call.option_flag("returnSequence", false);
    if steps > MOST_STEPS {
        return beyond(format!("{steps} steps"));
    }
    let emit = call.emit();
    let wide = emit.cast(x.value, Element::F32)?;
    let mut inputs = Vec::with_capacity(steps);
    for step in 0..steps {
        let input = emit.part(wide, 0, step, 1)?;
        inputs.push(emit.reshape(input, &x.shape[1..])?);
    }
    let start = |emit: &mut Emit, given: &Option<In>, direction: usize| -> Made {
        let shape = [batch, hidden];
        match given {
            Some(state) => {
                let state = emit.cast(state.value, Element::F32)?;
                let own = emit.part(state, 0, direction, 1)?;
                emit.reshape(own, &shape)
            }
            None => {
                let zero = emit.graph.number(0.0)?;
                emit.expand(zero, &shape)
            }
        }
    };
    let (mut last, mut cells, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for (at, &backwards) in backwards.iter().enumerate() {
        let cell = parts.cell(emit, Some(at), order, functions.clone(), reset_after)?;
        let mut states = [start(emit, &h, at)?, start(emit, &c, at)?];
        let mut made = Vec::with_capacity(steps);
        for step in 0..steps {
            let step = if backwards { steps - 1 - step } else { step };
            states = match is_lstm {
                true => cell.lstm(emit, inputs[step], states)?,
                false => [cell.gru(emit, inputs[step], states[0])?, states[1]],
            };
            made.push(states[0]);
        }
        if backwards {
            made.reverse();
        }
        let [h, c] = states;
        last.push(emit.reshape(h, &[1, batch, hidden])?);
        cells.push(emit.reshape(c, &[1, batch, hidden])?);
        if sequence {
            for state in &mut made {
                *state = emit.reshape(*state, &[1, 1, batch, hidden])?;
            }
            all.push(emit.concat(&made, 0)?);
        }
    }
    let mut outputs = vec![emit.concat(&last, 0)?];
    if is_lstm {
        outputs.push(emit.concat(&cells, 0)?);
    }
    if sequence {
        outputs.push(emit.concat(&all, 1)?);
    }
    let to = parts.x.data_type.engine();
    outputs.into_iter().map(|y| emit.cast(y, to)).collect()
}

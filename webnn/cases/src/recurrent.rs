//! Recurrent networks and their cells, by the equations of the specification.

use fewbit_webnn::{DataType, Value};

use crate::draw::{Arg, Drawn, Random, T};

/// What a network of either kind is drawn with.
struct Network {
    lstm: bool,
    data_type: DataType,
    directions: usize,
    batch: usize,
    inputs: usize,
    hidden: usize,
    /// Where each gate stands: z, r, n; or i, o, f, g.
    order: Vec<usize>,
    layout: &'static str,
    functions: Vec<&'static str>,
    reset_after: bool,
    weight: T,
    recurrent: T,
    bias: Option<T>,
    recurrent_bias: Option<T>,
    peephole: Option<T>,
}

fn function(name: &str, x: f64) -> f64 {
    match name {
        "relu" => x.max(0.0),
        "sigmoid" => 1.0 / (1.0 + (-x).exp()),
        _ => x.tanh(),
    }
}

impl Network {
    fn draw(random: &mut Random, lstm: bool, directions: usize) -> Network {
        let (data_type, gates) = (random.float(), if lstm { 4 } else { 3 });
        let [batch, inputs, hidden] = [(); 3].map(|()| random.from(1, 4));
        let (layout, order) = match (lstm, random.flag()) {
            (false, true) => ("zrn", vec![0, 1, 2]),
            (false, false) => ("rzn", vec![1, 0, 2]),
            (true, true) => ("iofg", vec![0, 1, 2, 3]),
            (true, false) => ("ifgo", vec![0, 3, 1, 2]),
        };
        let count = if lstm { 3 } else { 2 };
        let functions = (0..count)
            .map(|_| random.one_of(&["relu", "sigmoid", "tanh"]))
            .collect();
        let rows = gates * hidden;
        let tensor =
            |random: &mut Random, shape: &[usize]| random.tensor(data_type, shape, -1.0, 1.0);
        let optional = |random: &mut Random, columns: usize| match random.flag() {
            true => Some(tensor(random, &[directions, columns])),
            false => None,
        };
        Network {
            bias: optional(random, rows),
            recurrent_bias: optional(random, rows),
            peephole: optional(random, 3 * hidden).filter(|_| lstm),
            weight: tensor(random, &[directions, rows, inputs]),
            recurrent: tensor(random, &[directions, rows, hidden]),
            reset_after: random.flag(),
            lstm,
            data_type,
            directions,
            batch,
            inputs,
            hidden,
            order,
            layout,
            functions,
        }
    }

    /// The sum of a gate's unit over the inputs, or over the hidden state, with its bias.
    fn sum(&self, own: bool, d: usize, gate: usize, unit: usize, x: &[f64]) -> f64 {
        let row = self.order[gate] * self.hidden + unit;
        let (weight, bias) = match own {
            true => (&self.weight, &self.bias),
            false => (&self.recurrent, &self.recurrent_bias),
        };
        let products = x
            .iter()
            .enumerate()
            .map(|(k, x)| weight.at(&[d, row, k]) * x);
        products.sum::<f64>() + bias.as_ref().map_or(0.0, |bias| bias.at(&[d, row]))
    }

    /// Hidden and cell state of a row after a step.
    fn step(&self, d: usize, x: &[f64], h: &[f64], c: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let n = self.hidden;
        let both = |gate, unit, h: &[f64]| {
            self.sum(true, d, gate, unit, x) + self.sum(false, d, gate, unit, h)
        };
        if self.lstm {
            let gate = |gate: usize, unit: usize| {
                let seen = self.peephole.as_ref().filter(|_| gate < 3);
                let seen = seen.map_or(0.0, |p| p.at(&[d, gate * n + unit]) * c[unit]);
                let name = self.functions[usize::from(gate == 3)];
                function(name, both(gate, unit, h) + seen)
            };
            let cells: Vec<f64> = (0..n)
                .map(|u| gate(2, u) * c[u] + gate(0, u) * gate(3, u))
                .collect();
            let hidden = (0..n).map(|u| gate(1, u) * function(self.functions[2], cells[u]));
            return (hidden.collect(), cells);
        }
        let reset: Vec<f64> = (0..n)
            .map(|u| function(self.functions[0], both(1, u, h)))
            .collect();
        let reduced: Vec<f64> = h.iter().zip(&reset).map(|(h, r)| h * r).collect();
        let hidden = (0..n).map(|u| {
            let z = function(self.functions[0], both(0, u, h));
            let back = match self.reset_after {
                true => reset[u] * self.sum(false, d, 2, u, h),
                false => self.sum(false, d, 2, u, &reduced),
            };
            let new = function(self.functions[1], self.sum(true, d, 2, u, x) + back);
            (1.0 - z) * new + z * h[u]
        });
        (hidden.collect(), c.to_vec())
    }

    /// The options, operands of a cell without the dimension of directions.
    fn options(&self, cell: bool) -> Vec<(&'static str, Arg)> {
        let mut options = vec![("layout", Arg::Value(self.layout.into()))];
        let names = self.functions.iter().map(|&name| Value::from(name));
        options.push(("activations", Arg::Value(Value::List(names.collect()))));
        if !self.lstm {
            options.push(("resetAfter", Arg::Value(self.reset_after.into())));
        }
        let operands = [
            ("bias", &self.bias),
            ("recurrentBias", &self.recurrent_bias),
            ("peepholeWeight", &self.peephole),
        ];
        for (name, operand) in operands {
            if let Some(operand) = operand {
                options.push((name, (&self.part(operand, cell)).into()));
            }
        }
        options
    }

    fn part(&self, x: &T, cell: bool) -> T {
        let shape = if cell { &x.shape[1..] } else { &x.shape[..] };
        T::new(x.data_type, shape, x.values.clone())
    }
}

fn row(x: &T, at: &[usize]) -> Vec<f64> {
    let last = x.shape[x.shape.len() - 1];
    let place = at
        .iter()
        .zip(&x.shape)
        .fold(0, |place, (i, n)| place * n + i);
    x.values[place * last..][..last].to_vec()
}

fn cell(random: &mut Random, lstm: bool) -> Drawn {
    let network = Network::draw(random, lstm, 1);
    let (t, batch, hidden) = (network.data_type, network.batch, network.hidden);
    let x = random.tensor(t, &[batch, network.inputs], -1.0, 1.0);
    let h = random.tensor(t, &[batch, hidden], -1.0, 1.0);
    let c = random.tensor(t, &[batch, hidden], -1.0, 1.0);
    let (mut hs, mut cs) = (Vec::new(), Vec::new());
    for b in 0..batch {
        let (h, c) = network.step(0, &row(&x, &[b]), &row(&h, &[b]), &row(&c, &[b]));
        hs.extend(h);
        cs.extend(c);
    }
    let weights = [
        network.part(&network.weight, true),
        network.part(&network.recurrent, true),
    ];
    let mut arguments: Vec<Arg> = [&x, &weights[0], &weights[1], &h].map(Arg::from).to_vec();
    let mut expected = vec![T::new(t, &[batch, hidden], hs)];
    if lstm {
        arguments.push((&c).into());
        expected.push(T::new(t, &[batch, hidden], cs));
    }
    arguments.push(Arg::Value(hidden.into()));
    Drawn {
        arguments,
        options: network.options(true),
        expected,
    }
}

fn network(random: &mut Random, lstm: bool) -> Drawn {
    let direction = random.one_of(&["forward", "backward", "both"]);
    let directions = if direction == "both" { 2 } else { 1 };
    let network = Network::draw(random, lstm, directions);
    let (t, batch, hidden) = (network.data_type, network.batch, network.hidden);
    let steps = random.from(1, 4);
    let x = random.tensor(t, &[steps, batch, network.inputs], -1.0, 1.0);
    let first = [directions, batch, hidden];
    let zeros = || T::new(t, &first, vec![0.0; first.iter().product()]);
    let (given, sequence) = (random.flag(), random.flag());
    let mut state = || match given {
        true => random.tensor(t, &first, -1.0, 1.0),
        false => zeros(),
    };
    let (h, c) = (state(), state());
    let (mut last, mut cells) = (zeros(), zeros());
    let mut all = vec![0.0; steps * first.iter().product::<usize>()];
    for d in 0..network.directions {
        for b in 0..batch {
            let (mut own, mut cell) = (row(&h, &[d, b]), row(&c, &[d, b]));
            for step in 0..steps {
                let backwards = direction == "backward" || d == 1;
                let step = if backwards { steps - 1 - step } else { step };
                (own, cell) = network.step(d, &row(&x, &[step, b]), &own, &cell);
                let at = ((step * directions + d) * batch + b) * hidden;
                all[at..at + hidden].copy_from_slice(&own);
            }
            let at = (d * batch + b) * hidden;
            last.values[at..at + hidden].copy_from_slice(&own);
            cells.values[at..at + hidden].copy_from_slice(&cell);
        }
    }
    let operands = [&x, &network.weight, &network.recurrent];
    let mut arguments: Vec<Arg> = operands.map(Arg::from).to_vec();
    arguments.push(Arg::Value(steps.into()));
    arguments.push(Arg::Value(hidden.into()));
    let mut options = network.options(false);
    options.push(("direction", Arg::Value(direction.into())));
    options.push(("returnSequence", Arg::Value(sequence.into())));
    if given {
        options.push(("initialHiddenState", (&h).into()));
        if lstm {
            options.push(("initialCellState", (&c).into()));
        }
    }
    let mut expected = vec![last.map(|x| x)];
    if lstm {
        expected.push(cells.map(|x| x));
    }
    if sequence {
        expected.push(T::new(t, &[steps, directions, batch, hidden], all));
    }
    Drawn {
        arguments,
        options,
        expected,
    }
}

pub(crate) fn gru(random: &mut Random) -> Drawn {
    network(random, false)
}

pub(crate) fn gru_cell(random: &mut Random) -> Drawn {
    cell(random, false)
}

pub(crate) fn lstm(random: &mut Random) -> Drawn {
    network(random, true)
}

pub(crate) fn lstm_cell(random: &mut Random) -> Drawn {
    cell(random, true)
}

//! Calls of WebNN's operators drawn at random, and what they must give by references of their own in f64.
//!
//! Each operator's cases follow from [`SEED`] and its name alone. [`Operator::cases`] gives them as calls and
//! [`Operator::json`] as a file of cases, such as `fewbit conformance webnn` reads. `cargo run -p fewbit-webnn-cases -- DIR`
//! writes those of all operators.

mod draw;
mod elementwise;
mod indexing;
mod json;
mod lines;
mod movement;
mod recurrent;
mod windows;

pub use draw::{Arg, Drawn, T};

use draw::Random;

/// What all cases follow from.
pub const SEED: u64 = 20_261_201;

/// Cases that each operator has at least.
pub const CASES: usize = 48;

/// How an operator's cases are drawn, and how near its results must come: units in the last place of the type, or
/// an absolute difference.
pub struct Operator {
    pub name: &'static str,
    draw: fn(&mut Random) -> Drawn,
    pub ulp: f64,
    pub absolute: f64,
}

impl Operator {
    /// The first `count` calls, the same ones each time.
    pub fn cases(&self, count: usize) -> Vec<Drawn> {
        let mut random = Random::new(SEED, self.name);
        (0..count).map(|_| (self.draw)(&mut random)).collect()
    }
}

const fn operator(
    name: &'static str,
    draw: fn(&mut Random) -> Drawn,
    ulp: f64,
    absolute: f64,
) -> Operator {
    Operator {
        name,
        draw,
        ulp,
        absolute,
    }
}

/// The operators, by name.
pub const OPERATORS: &[Operator] = &[
    operator("argMax", lines::arg_max, 0.0, 0.0),
    operator("argMin", lines::arg_min, 0.0, 0.0),
    operator("averagePool2d", windows::average_pool, 2.0, 1e-6),
    operator("cos", elementwise::cos, 2.0, 1e-7),
    operator("cumulativeSum", lines::cumulative_sum, 8.0, 1e-4),
    operator("dequantizeLinear", elementwise::dequantize, 1.0, 0.0),
    operator("erf", elementwise::erf, 4.0, 5e-7),
    operator("gatherElements", indexing::gather_elements, 0.0, 0.0),
    operator("gatherND", indexing::gather_nd, 0.0, 0.0),
    // The kernels' erf is within 1.5e-7 (Abramowitz & Stegun 7.1.26), of which x / 2 goes into it.
    operator("gelu", elementwise::gelu, 18.0, 1e-6),
    operator("gemm", lines::gemm, 8.0, 1e-5),
    operator("gru", recurrent::gru, 32.0, 5e-6),
    operator("gruCell", recurrent::gru_cell, 32.0, 5e-6),
    operator("identity", elementwise::identity, 0.0, 0.0),
    operator("isInfinite", elementwise::is_infinite, 0.0, 0.0),
    operator("isNaN", elementwise::is_nan, 0.0, 0.0),
    operator("l2Pool2d", windows::l2_pool, 4.0, 1e-6),
    operator("logicalAnd", elementwise::logical_and, 0.0, 0.0),
    operator("logicalOr", elementwise::logical_or, 0.0, 0.0),
    operator("logicalXor", elementwise::logical_xor, 0.0, 0.0),
    operator("lstm", recurrent::lstm, 32.0, 5e-6),
    operator("lstmCell", recurrent::lstm_cell, 32.0, 5e-6),
    operator("maxPool2d", windows::max_pool, 0.0, 0.0),
    operator("notEqual", elementwise::not_equal, 0.0, 0.0),
    operator("pad", movement::pad, 0.0, 0.0),
    operator("prelu", elementwise::prelu, 1.0, 0.0),
    operator("quantizeLinear", elementwise::quantize, 0.0, 1.0),
    operator("reciprocal", elementwise::reciprocal, 2.0, 0.0),
    operator("resample2d", windows::resample, 4.0, 1e-6),
    operator("reverse", movement::reverse, 0.0, 0.0),
    operator("roundEven", elementwise::round_even, 0.0, 0.0),
    operator("scatterElements", indexing::scatter_elements, 0.0, 0.0),
    operator("scatterND", indexing::scatter_nd, 0.0, 0.0),
    operator("sign", elementwise::sign, 0.0, 0.0),
    operator("sin", elementwise::sin, 2.0, 1e-7),
    operator("softplus", elementwise::softplus, 18.0, 0.0),
    operator("softsign", elementwise::softsign, 3.0, 0.0),
    operator("tan", elementwise::tan, 4.0, 1e-7),
    operator("tile", movement::tile, 0.0, 0.0),
    operator("triangular", movement::triangular, 0.0, 0.0),
    operator("where", elementwise::choose, 0.0, 0.0),
];

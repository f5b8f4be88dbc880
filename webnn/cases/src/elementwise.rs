//! Element-wise operators, activations and quantization.

use fewbit_webnn::DataType;

use crate::draw::{Drawn, Random, T};

const ALL: [DataType; 8] = DataType::ALL;

fn unary(random: &mut Random, most: f64, f: fn(f64) -> f64) -> Drawn {
    let (data_type, shape) = (random.float(), random.shape(0, 4));
    let x = random.with_edges(data_type, &shape, most);
    Drawn::of(&[&x], x.map(f))
}

pub(crate) fn cos(random: &mut Random) -> Drawn {
    unary(random, 10.0, f64::cos)
}

pub(crate) fn sin(random: &mut Random) -> Drawn {
    unary(random, 10.0, f64::sin)
}

pub(crate) fn tan(random: &mut Random) -> Drawn {
    unary(random, 1.2, f64::tan)
}

/// By the series about 0 and the continued fraction far from it (Abramowitz & Stegun 7.1.5, 7.1.14), in f64.
pub(crate) fn erf_of(x: f64) -> f64 {
    let a = x.abs();
    let value = if a.is_nan() {
        return x;
    } else if a > 6.0 {
        1.0
    } else if a < 3.0 {
        let (mut term, mut sum) = (a, a);
        for n in 1..200 {
            term *= -a * a / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let fraction = (1..60)
            .rev()
            .fold(a, |below, n| a + f64::from(n) / 2.0 / below);
        1.0 - (-a * a).exp() / fraction / std::f64::consts::PI.sqrt()
    };
    value.copysign(x)
}

pub(crate) fn erf(random: &mut Random) -> Drawn {
    unary(random, 4.0, erf_of)
}

pub(crate) fn gelu(random: &mut Random) -> Drawn {
    unary(random, 6.0, |x| {
        0.5 * x * (1.0 + erf_of(x * std::f64::consts::FRAC_1_SQRT_2))
    })
}

pub(crate) fn reciprocal(random: &mut Random) -> Drawn {
    unary(random, 50.0, |x| 1.0 / x)
}

pub(crate) fn identity(random: &mut Random) -> Drawn {
    let (data_type, shape) = (random.one_of(&ALL), random.shape(0, 5));
    let x = random.tensor(data_type, &shape, 0.0, 100.0);
    Drawn::of(&[&x], x.clone())
}

pub(crate) fn round_even(random: &mut Random) -> Drawn {
    let (data_type, shape) = (random.float(), random.shape(0, 4));
    let x = random.with_edges(data_type, &shape, 20.0);
    // Halves more often than they come by themselves.
    let x = match random.flag() {
        true => x.map(|x| (x * 2.0).round() / 2.0),
        false => x,
    };
    Drawn::of(&[&x], x.map(f64::round_ties_even))
}

pub(crate) fn sign(random: &mut Random) -> Drawn {
    const TYPES: [DataType; 5] = [
        DataType::Float32,
        DataType::Float16,
        DataType::Int32,
        DataType::Int64,
        DataType::Int8,
    ];
    let (data_type, shape) = (random.one_of(&TYPES), random.shape(0, 4));
    let x = match data_type.is_float() {
        true => random.with_edges(data_type, &shape, 3.0),
        false => random.tensor(data_type, &shape, -3.0, 3.0),
    };
    Drawn::of(&[&x], x.map(|x| if x == 0.0 { 0.0 } else { x.signum() }))
}

fn told(random: &mut Random, f: fn(f64) -> bool) -> Drawn {
    let (data_type, shape) = (random.float(), random.shape(0, 4));
    let x = random.with_edges(data_type, &shape, 3.0);
    let values = x
        .values
        .iter()
        .map(|&x| f64::from(u8::from(f(x))))
        .collect();
    Drawn::of(&[&x], T::new(DataType::Uint8, &shape, values))
}

pub(crate) fn is_nan(random: &mut Random) -> Drawn {
    told(random, f64::is_nan)
}

pub(crate) fn is_infinite(random: &mut Random) -> Drawn {
    told(random, f64::is_infinite)
}

/// Two shapes that broadcast together, and what comes of them.
fn two_shapes(random: &mut Random) -> [Vec<usize>; 3] {
    let whole = random.shape(0, 4);
    let part = |random: &mut Random| {
        let skip = random.from(0, whole.len());
        let sizes = whole[skip..].iter();
        sizes
            .map(|&n| if random.from(0, 2) == 0 { 1 } else { n })
            .collect::<Vec<usize>>()
    };
    let (a, b) = (part(random), part(random));
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], i: usize| match (i + shape.len()).checked_sub(rank) {
        Some(i) => shape[i],
        None => 1,
    };
    let both = (0..rank).map(|i| at(&a, i).max(at(&b, i))).collect();
    [a, b, both]
}

fn binary(
    random: &mut Random,
    data_type: DataType,
    [least, most]: [f64; 2],
    to: DataType,
    f: impl Fn(f64, f64) -> f64,
) -> Drawn {
    let [a, b, both] = two_shapes(random);
    let a = random.tensor(data_type, &a, least, most);
    let b = random.tensor(data_type, &b, least, most);
    let expected = T::made(to, &both, |index| f(a.at(index), b.at(index)));
    Drawn::of(&[&a, &b], expected)
}

fn logical(random: &mut Random, f: fn(bool, bool) -> bool) -> Drawn {
    let as_number = move |a: f64, b: f64| f64::from(u8::from(f(a != 0.0, b != 0.0)));
    binary(
        random,
        DataType::Uint8,
        [0.0, 3.0],
        DataType::Uint8,
        as_number,
    )
}

pub(crate) fn logical_and(random: &mut Random) -> Drawn {
    logical(random, |a, b| a && b)
}

pub(crate) fn logical_or(random: &mut Random) -> Drawn {
    logical(random, |a, b| a || b)
}

pub(crate) fn logical_xor(random: &mut Random) -> Drawn {
    logical(random, |a, b| a != b)
}

pub(crate) fn not_equal(random: &mut Random) -> Drawn {
    let data_type = random.one_of(&ALL);
    let differ = |a: f64, b: f64| f64::from(u8::from(a.round() != b.round()));
    let mut drawn = binary(random, data_type, [0.0, 3.0], DataType::Uint8, differ);
    if data_type.is_float() {
        // Whole numbers, which can be equal.
        for argument in &mut drawn.arguments {
            if let crate::draw::Arg::Tensor(tensor) = argument {
                *tensor = tensor.map(f64::round);
            }
        }
    }
    drawn
}

pub(crate) fn prelu(random: &mut Random) -> Drawn {
    const TYPES: [DataType; 4] = [
        DataType::Float32,
        DataType::Float16,
        DataType::Int32,
        DataType::Int64,
    ];
    let data_type = random.one_of(&TYPES);
    let f = |x: f64, slope: f64| if x < 0.0 { x * slope } else { x };
    binary(random, data_type, [-9.0, 9.0], data_type, f)
}

pub(crate) fn softplus(random: &mut Random) -> Drawn {
    unary(random, 30.0, |x| x.max(0.0) + (-x.abs()).exp().ln_1p())
}

pub(crate) fn softsign(random: &mut Random) -> Drawn {
    unary(random, 30.0, |x| x / (1.0 + x.abs()))
}

pub(crate) fn choose(random: &mut Random) -> Drawn {
    let data_type = random.one_of(&ALL);
    let [a, b, _] = two_shapes(random);
    let condition = random.shape(0, 1);
    let condition = if condition == [1] {
        condition
    } else {
        Vec::new()
    };
    let condition = random.tensor(DataType::Uint8, &condition, 0.0, 2.0);
    let (a, b) = (
        random.tensor(data_type, &a, 0.0, 100.0),
        random.tensor(data_type, &b, 0.0, 100.0),
    );
    let rank = a.shape.len().max(b.shape.len()).max(condition.shape.len());
    let at = |shape: &[usize], i: usize| match (i + shape.len()).checked_sub(rank) {
        Some(i) => shape[i],
        None => 1,
    };
    let both: Vec<usize> = (0..rank)
        .map(|i| at(&a.shape, i).max(at(&b.shape, i)))
        .collect();
    let expected = T::made(data_type, &both, |index| match condition.at(index) != 0.0 {
        true => a.at(index),
        false => b.at(index),
    });
    Drawn::of(&[&condition, &a, &b], expected)
}

/// A shape, and one of blocks of it.
fn blocks(random: &mut Random) -> [Vec<usize>; 2] {
    let rank = random.from(0, 3);
    let (mut shape, mut blocks) = (Vec::new(), Vec::new());
    for _ in 0..rank {
        let (block, count) = (random.from(1, 3), random.from(1, 3));
        shape.push(block * count);
        blocks.push(count);
    }
    [shape, blocks]
}

/// The element of a block's tensor for an index.
fn of_block(x: &T, shape: &[usize], index: &[usize]) -> f64 {
    let sizes = shape.iter().zip(&x.shape);
    let block = index
        .iter()
        .zip(sizes)
        .map(|(&i, (n, count))| i / (n / count));
    x.at(&block.collect::<Vec<_>>())
}

const QUANTIZED: [DataType; 4] = [
    DataType::Uint8,
    DataType::Int8,
    DataType::Int32,
    DataType::Uint32,
];

fn range(data_type: DataType) -> [f64; 2] {
    match data_type {
        DataType::Uint8 => [0.0, 255.0],
        DataType::Int8 => [-128.0, 127.0],
        DataType::Int32 => [-2147483648.0, 2147483647.0],
        _ => [0.0, 4294967295.0],
    }
}

pub(crate) fn dequantize(random: &mut Random) -> Drawn {
    let [shape, blocks] = blocks(random);
    let (from, to) = (random.one_of(&QUANTIZED), random.float());
    let [least, most] = range(from).map(|end| end.clamp(-300.0, 300.0));
    let x = random.tensor(from, &shape, least, most);
    let zero = random.tensor(from, &blocks, least, most);
    let scale = random.tensor(to, &blocks, 0.01, 2.0);
    let expected = T::made(to, &shape, |index| {
        let (scale, zero) = (
            of_block(&scale, &shape, index),
            of_block(&zero, &shape, index),
        );
        (x.at(index) - zero) * scale
    });
    Drawn::of(&[&x, &scale, &zero], expected)
}

pub(crate) fn quantize(random: &mut Random) -> Drawn {
    let [shape, blocks] = blocks(random);
    let (from, to) = (random.float(), random.one_of(&QUANTIZED));
    let [least, most] = range(to);
    let x = random.tensor(from, &shape, -200.0, 200.0);
    let [low, high] = [least.max(-200.0), most.min(200.0)];
    let mut zero = random.tensor(to, &blocks, low, high);
    if to.bytes() == 4 && random.flag() {
        // At the end of the range, where sums stay.
        zero = zero.map(|_| most - 3.0);
    }
    let scale = random.tensor(from, &blocks, 0.05, 2.0);
    let expected = T::made(to, &shape, |index| {
        let (scale, zero) = (
            of_block(&scale, &shape, index),
            of_block(&zero, &shape, index),
        );
        ((x.at(index) / scale).round_ties_even() + zero).clamp(least, most)
    });
    Drawn::of(&[&x, &scale, &zero], expected)
}

//! Convolutions and pools, and what pads for them.

use super::draw::Random;
use super::{Case, Draft};
use crate::backend::WeightUse;
use crate::graph::Op;
use crate::graph::op::{Conv2d, CumulativeSum, Pad, PadMode, Pool2d, PoolKind, Window};
use crate::tensor::{DataType, ElementType, Tensor};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = convolutions();
    cases.extend(filters());
    cases.extend(pools());
    cases.extend(padding());
    cases.extend(cumulative_sums());
    cases
}

struct Sizes {
    /// `[batch, channels, height, width]`
    image: [usize; 4],
    /// `[outputs, height, width]`
    filter: [usize; 3],
    window: Window,
    groups: usize,
}

fn window(padding: [usize; 4], strides: [usize; 2], dilations: [usize; 2]) -> Window {
    Window {
        padding,
        strides,
        dilations,
    }
}

/// Windows of one element and more, sizes that no tile divides, one-sided padding, strides over the edge, dilations,
/// groups down to one channel, sequences (height 1).
fn sizes() -> Vec<Sizes> {
    let of = |image, filter, window, groups| Sizes {
        image,
        filter,
        window,
        groups,
    };
    let plain = Window::default();
    vec![
        of([1, 3, 9, 7], [5, 3, 3], plain, 1),
        of([2, 3, 9, 7], [5, 3, 3], window([1; 4], [1, 1], [1, 1]), 1),
        of([2, 7, 5, 23], [33, 1, 1], plain, 1),
        of([1, 4, 8, 9], [6, 1, 1], window([0; 4], [2, 2], [1, 1]), 1),
        of(
            [1, 3, 19, 18],
            [17, 7, 7],
            window([3; 4], [2, 2], [1, 1]),
            1,
        ),
        of(
            [1, 3, 32, 48],
            [20, 16, 16],
            window([0; 4], [16, 16], [1, 1]),
            1,
        ),
        of(
            [1, 6, 11, 10],
            [8, 3, 2],
            window([0, 2, 1, 0], [2, 3], [2, 3]),
            2,
        ),
        of([2, 6, 7, 20], [6, 3, 3], window([1; 4], [1, 1], [1, 1]), 6),
        of([1, 4, 6, 6], [8, 3, 3], window([1; 4], [2, 2], [1, 1]), 4),
        of(
            [1, 40, 6, 37],
            [70, 3, 3],
            window([1; 4], [1, 1], [1, 1]),
            1,
        ),
        of(
            [1, 80, 1, 50],
            [24, 1, 3],
            window([0, 0, 1, 1], [1, 2], [1, 1]),
            1,
        ),
        of(
            [2, 1, 1, 203],
            [18, 1, 10],
            window([0; 4], [1, 5], [1, 1]),
            1,
        ),
        of(
            [1, 32, 1, 29],
            [32, 1, 16],
            window([0, 0, 8, 8], [1, 1], [1, 1]),
            4,
        ),
        of([1, 2, 1, 1], [3, 1, 1], plain, 1),
        of(
            [1, 1, 2, 2],
            [1, 5, 5],
            window([2, 2, 2, 2], [1, 1], [1, 1]),
            1,
        ),
    ]
}

/// By a filter that is an input: computed in the graph, as far as a back end knows.
fn convolutions() -> Vec<Case> {
    let mut cases = Vec::new();
    for Sizes {
        image,
        filter: [outputs, rows, columns],
        window,
        groups,
    } in sizes()
    {
        for bias in [false, true] {
            let mut random = Random::new(60);
            let filter = [outputs, image[1] / groups, rows, columns];
            let mut inputs = vec![random.tensor(&image), random.tensor(&filter)];
            if bias {
                inputs.push(random.tensor(&[outputs]));
            }
            let op = Op::Conv2d(Conv2d {
                window,
                groups,
                bias,
            });
            let name = format!("conv2d {image:?} by {filter:?}, {window:?}, bias {bias}");
            cases.push(Draft::of(name, op, inputs));
        }
    }
    cases
}

/// By a filter that is a weight, in each type that files have.
fn filters() -> Vec<Case> {
    let types = [DataType::F32, DataType::F16, DataType::Bf16].map(ElementType::from);
    let mut cases = Vec::new();
    for element in types {
        for (channels, groups) in [(5, 1), (6, 2)] {
            let mut random = Random::new(61);
            let mut draft = Draft::new(format!("conv2d by a weight of {element}, groups {groups}"));
            let usage = WeightUse {
                filter: Some(groups),
                ..WeightUse::default()
            };
            let x = draft.input(random.tensor(&[2, channels, 6, 9]));
            let shape = [18, channels / groups, 3, 3];
            let bytes = random.weights(element, shape.iter().product());
            let filter = draft.weight(element, &shape, bytes, usage);
            let bias = draft.input(random.tensor(&[18]));
            let op = Op::Conv2d(Conv2d {
                window: window([1, 0, 0, 1], [2, 1], [1, 1]),
                groups,
                bias: true,
            });
            let y = draft.op(op, &[x, filter, bias]);
            cases.push(draft.case(y));
        }
    }
    cases
}

fn pools() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in PoolKind::ALL {
        for (image, size, window) in [
            ([1, 3, 8, 9], [2, 2], window([0; 4], [2, 2], [1, 1])),
            ([2, 5, 17, 12], [3, 3], window([1; 4], [2, 2], [1, 1])),
            ([1, 2, 7, 7], [7, 7], Window::default()),
            ([1, 2, 9, 11], [3, 2], window([2, 0, 0, 1], [1, 3], [2, 2])),
            ([2, 3, 1, 70], [1, 4], window([0, 0, 1, 1], [1, 4], [1, 1])),
        ] {
            let x = Random::new(62).scaled(&image, 2.0, -1.0);
            let op = Op::Pool2d(Pool2d { kind, size, window });
            let name = format!("{} {image:?} by {size:?}, {window:?}", kind.name());
            cases.push(Draft::of(name, op, vec![x]));
        }
    }
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let special = [-inf, -inf, 1.0, nan, 2.0, inf, nan, -inf, -3.4e38, -inf];
    let x = Tensor::from_f32(&[1, 1, 1, 10], &special).expect("ten");
    let op = Op::Pool2d(Pool2d {
        kind: PoolKind::Max,
        size: [1, 2],
        window: window([0; 4], [1, 2], [1, 1]),
    });
    cases.push(Draft::of("max_pool2d of infinities and nan", op, vec![x]));
    cases
}

fn padding() -> Vec<Case> {
    let mut cases = Vec::new();
    let modes = [
        PadMode::Constant(0.0),
        PadMode::Constant(-2.5),
        PadMode::Edge,
        PadMode::Reflection,
    ];
    for mode in modes {
        for (shape, before, after) in [
            (vec![5], vec![2], vec![4]),
            (vec![3, 4, 5], vec![0, 2, 1], vec![2, 0, 3]),
            (vec![2, 1, 6, 7], vec![0, 0, 5, 0], vec![1, 0, 0, 6]),
            (vec![4, 2, 2], vec![0, 1, 0], vec![0; 3]),
        ] {
            let fits = |axis: usize| before[axis].max(after[axis]) < shape[axis];
            if mode == PadMode::Reflection && !(0..shape.len()).all(fits) {
                continue;
            }
            let x = Random::new(63).tensor(&shape);
            let name = format!("pad {mode:?} {shape:?} by {before:?} and {after:?}");
            let op = Op::Pad(Pad {
                before,
                after,
                mode,
            });
            cases.push(Draft::of(name, op, vec![x]));
        }
    }
    for mode in [PadMode::Constant(0.0), PadMode::Edge, PadMode::Reflection] {
        let x = Random::new(64).integers(&[3, 4], -9, 9);
        let op = Op::Pad(Pad {
            before: vec![1, 2],
            after: vec![0, 1],
            mode,
        });
        cases.push(Draft::of(format!("pad {mode:?} of i32"), op, vec![x]));
    }
    cases
}

fn cumulative_sums() -> Vec<Case> {
    let mut cases = Vec::new();
    for axis in 0..3 {
        for (exclusive, reversed) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut random = Random::new(65);
            let op = Op::CumulativeSum(CumulativeSum {
                axis,
                exclusive,
                reversed,
            });
            let name = format!("cumulative_sum {axis} exclusive {exclusive} reversed {reversed}");
            let x = random.tensor(&[3, 7, 20]);
            cases.push(Draft::of(name.clone(), op.clone(), vec![x]));
            let x = random.integers(&[2, 5, 3], -9, 9);
            cases.push(Draft::of(format!("{name} of i32"), op, vec![x]));
        }
    }
    cases
}

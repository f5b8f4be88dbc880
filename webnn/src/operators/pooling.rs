//! Pools over height and width.
//!
//! An average is over what the window sees of the input; padding is not counted.

use fewbit_engine::graph::ValueId;
use fewbit_engine::graph::op::{Binary, PadMode, PoolKind, ReduceKind, Unary, Window};
use fewbit_engine::tensor::Tensor;

use super::convolution::{arranged, layout, returned, sizes_in, window, windows};
use super::{Call, In, Outputs, one_of, ranked};
use crate::emit::{Emit, Made};
use crate::error::{Fault, beyond, refuse, rule};
use crate::types::{DataType, valid_dimension};
use crate::value::Number;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Average,
    L2,
    Max,
}

/// A pool of which nothing is left to be checked.
struct Pool {
    kind: Kind,
    size: [usize; 2],
    /// The padding's ends are such that rounding down gives the output's size.
    window: Window,
    input: [usize; 2],
    output: [usize; 2],
}

/// Elements of the largest integer window that is taken apart.
const MOST_TAPS: usize = 1024;

pub(super) fn pool(call: &mut Call<'_>) -> Outputs {
    let (kind, types) = match call.name {
        "averagePool2d" => (Kind::Average, DataType::FLOATS),
        "l2Pool2d" => (Kind::L2, DataType::FLOATS),
        _ => (Kind::Max, &DataType::ALL[..]),
    };
    let x = call.operand(0, "input")?;
    one_of("input", &x, types)?;
    ranked("input", &x, 4)?;
    let order = layout(call, "layout")?;
    let [_, _, height, width] = sizes_in(&x, order);
    let pool = read(call, kind, [height, width])?;
    let emit = call.emit();
    let image = arranged(emit, x.value, order)?;
    let y = match (kind, x.data_type) {
        (_, DataType::Float32) => pooled(emit, image, &pool)?,
        // f32 has all of these numbers.
        (_, DataType::Float16) | (Kind::Max, DataType::Int8 | DataType::Uint8) => {
            emit.in_f32(image, |emit, x| pooled(emit, x, &pool))?
        }
        _ => by_taps(emit, image, &x, &pool)?,
    };
    Ok(vec![returned(emit, y, order)?])
}

fn read(call: &Call<'_>, kind: Kind, input: [usize; 2]) -> Result<Pool, Fault> {
    let size = call.option_list("windowDimensions", input)?;
    rule(!size.contains(&0), || {
        format!("windowDimensions {size:?} have a 0")
    })?;
    let mut window = window(call)?;
    let sizes = match call.option("outputSizes") {
        Some(_) => Some(call.option_list("outputSizes", [0; 2])?),
        None => None,
    };
    if sizes.is_some() {
        // Then padding is not looked at.
        window.padding = [0; 4];
    }
    let roundings = [("floor", false), ("ceil", true)];
    let up = call.option_one_of("outputShapeRounding", &roundings, false)?;
    let mut down = [(0, false); 2];
    for axis in 0..2 {
        let padding = [window.padding[2 * axis], window.padding[2 * axis + 1]];
        let (stride, dilation) = (window.strides[axis], window.dilations[axis]);
        down[axis] = windows(input[axis], size[axis], padding, stride, dilation)?;
    }
    let floor = down.map(|(count, _)| count);
    let ceil = down.map(|(count, rest)| count + usize::from(rest));
    let output = match sizes {
        Some(sizes) if sizes == floor || sizes == ceil => sizes,
        Some(sizes) => {
            return refuse(format!(
                "outputSizes {sizes:?} are neither {floor:?} nor {ceil:?}"
            ));
        }
        None if up => ceil,
        None => floor,
    };
    for axis in 0..2 {
        valid_dimension(output[axis] as u64)?;
        let reach = (output[axis] - 1) * window.strides[axis]
            + (size[axis] - 1) * window.dilations[axis]
            + 1;
        let padded = input[axis] + window.padding[2 * axis] + window.padding[2 * axis + 1];
        // Rounded up, the last window reaches beyond the padding.
        window.padding[2 * axis + 1] += reach.saturating_sub(padded);
    }
    Ok(Pool {
        kind,
        size,
        window,
        input,
        output,
    })
}

impl Pool {
    /// The engine wants each window to see something of the input.
    fn pads_less_than_window(&self) -> bool {
        (0..2).all(|axis| {
            let padding = &self.window.padding[2 * axis..][..2];
            padding.iter().all(|&size| size < self.size[axis])
        })
    }

    fn around(&self) -> [Vec<usize>; 2] {
        let [top, bottom, left, right] = self.window.padding;
        [vec![0, 0, top, left], vec![0, 0, bottom, right]]
    }

    fn unpadded(&self) -> Window {
        Window {
            padding: [0; 4],
            ..self.window
        }
    }

    /// How many elements of the input each window sees, along an axis.
    fn seen(&self, axis: usize) -> Vec<f32> {
        let before = self.window.padding[2 * axis];
        let inside = |place: usize| (before..before + self.input[axis]).contains(&place);
        let places = |window: usize| {
            let first = window * self.window.strides[axis];
            (0..self.size[axis]).map(move |tap| first + tap * self.window.dilations[axis])
        };
        (0..self.output[axis])
            .map(|window| places(window).filter(|&place| inside(place)).count() as f32)
            .collect()
    }
}

/// In f32.
fn pooled(emit: &mut Emit, x: ValueId, pool: &Pool) -> Made {
    let [before, after] = pool.around();
    let taps = (pool.size[0] * pool.size[1]) as f64;
    let average = |emit: &mut Emit, x| -> Made {
        let kind = PoolKind::Average;
        Ok(emit.graph.pool2d(kind, x, pool.size, pool.unpadded())?)
    };
    match pool.kind {
        Kind::L2 => {
            let squares = emit.mul(x, x)?;
            let padded = emit.pad(squares, &before, &after, PadMode::Constant(0.0))?;
            let means = average(emit, padded)?;
            let sums = emit.with(Binary::Mul, means, taps)?;
            emit.unary(Unary::Sqrt, sums)
        }
        Kind::Average if pool.pads_less_than_window() => {
            let kind = PoolKind::Average;
            Ok(emit.graph.pool2d(kind, x, pool.size, pool.window)?)
        }
        Kind::Average => {
            let padded = emit.pad(x, &before, &after, PadMode::Constant(0.0))?;
            let means = average(emit, padded)?;
            let sums = emit.with(Binary::Mul, means, taps)?;
            let mut counts = Vec::new();
            for down in pool.seen(0) {
                counts.extend(pool.seen(1).into_iter().map(|along| down * along));
            }
            let counts = Tensor::from_f32(&pool.output, &counts)?;
            let counts = emit.graph.constant(counts);
            emit.binary(Binary::Div, sums, counts)
        }
        Kind::Max => {
            let (x, window) = match pool.pads_less_than_window() {
                true => (x, pool.window),
                false => {
                    let least = PadMode::Constant(f32::NEG_INFINITY);
                    (emit.pad(x, &before, &after, least)?, pool.unpadded())
                }
            };
            Ok(emit.graph.pool2d(PoolKind::Max, x, pool.size, window)?)
        }
    }
}

/// The maximum of integers that f32 has not all: of what each tap of the window sees, exactly.
fn by_taps(emit: &mut Emit, x: ValueId, input: &In, pool: &Pool) -> Made {
    let least = input.data_type.range().map_or(0, |(least, _)| least);
    let [before, after] = pool.around();
    let padded = emit.surround(x, &before, &after, Number::Integer(least))?;
    let [rows, columns] = pool.size;
    if rows.saturating_mul(columns) > MOST_TAPS {
        return whole(emit, padded, pool);
    }
    let shape = emit.shape(padded);
    let mut most: Option<ValueId> = None;
    for tap in 0..rows * columns {
        let at = [tap / columns, tap % columns];
        let (mut starts, mut sizes, mut strides) = (vec![0; 4], shape.clone(), vec![1; 4]);
        for axis in 0..2 {
            strides[2 + axis] = pool.window.strides[axis];
            starts[2 + axis] = at[axis] * pool.window.dilations[axis];
            sizes[2 + axis] = (pool.output[axis] - 1) * pool.window.strides[axis] + 1;
        }
        let seen = emit.slice(padded, &starts, &sizes, &strides)?;
        most = Some(match most {
            Some(most) => emit.binary(Binary::Max, most, seen)?,
            None => seen,
        });
    }
    Ok(most.unwrap_or(padded))
}

/// A window over all there is.
fn whole(emit: &mut Emit, x: ValueId, pool: &Pool) -> Made {
    if emit.shape(x)[2..] != pool.size {
        return beyond(format!("windows of {:?} over integers", pool.size));
    }
    emit.reduce(ReduceKind::Max, x, &[2, 3], true)
}

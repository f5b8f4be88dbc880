//! Convolutions. The engine's are over `[batch, channels, height, width]` and filters
//! `[outputs, channels / groups, height, width]`, in f32; other layouts are brought there and back.

use fewbit_engine::graph::ValueId;
use fewbit_engine::graph::op::{PadMode, Window};
use fewbit_engine::tensor;

use super::{Call, In, Outputs};
use crate::emit::{Emit, Made};
use crate::error::{Fault, beyond, refuse, rule};
use crate::types::valid_dimension;

/// Where a layout has batch, channels, height and width (of a filter: outputs, channels, height, width).
type Order = [usize; 4];

/// Larger numbers than any window has; sums of them stay in range.
const MOST: usize = 1 << 24;

const NCHW: Order = [0, 1, 2, 3];
const NHWC: Order = [0, 3, 1, 2];

/// The layout of images among the options of a convolution or a pool.
pub(super) fn layout(call: &Call<'_>, name: &str) -> Result<Order, Fault> {
    call.option_one_of(name, &[("nchw", NCHW), ("nhwc", NHWC)], NCHW)
}

/// A value of some layout in the engine's.
pub(super) fn arranged(emit: &mut Emit, x: ValueId, order: Order) -> Made {
    emit.transpose(x, &order)
}

/// The engine's layout brought back to another.
pub(super) fn returned(emit: &mut Emit, x: ValueId, order: Order) -> Made {
    let mut back = [0; 4];
    for (at, &from) in order.iter().enumerate() {
        back[from] = at;
    }
    emit.transpose(x, &back)
}

pub(super) fn sizes_in(x: &In, order: Order) -> [usize; 4] {
    order.map(|axis| x.shape[axis])
}

/// Padding, strides and dilations.
pub(super) fn window(call: &Call<'_>) -> Result<Window, Fault> {
    let padding = call.option_list("padding", [0; 4])?;
    let strides = call.option_list("strides", [1; 2])?;
    rule(!strides.contains(&0), || {
        format!("strides {strides:?} have a 0")
    })?;
    let dilations = call.option_list("dilations", [1; 2])?;
    rule(!dilations.contains(&0), || {
        format!("dilations {dilations:?} have a 0")
    })?;
    let mut numbers = padding.iter().chain(&strides).chain(&dilations);
    if numbers.any(|&number| number > MOST) {
        return beyond(format!("padding, strides or dilations of more than {MOST}"));
    }
    Ok(Window {
        padding,
        strides,
        dilations,
    })
}

/// How far a window of `size` reaches with its dilation.
pub(super) fn reach(size: usize, dilation: usize) -> u64 {
    (size as u64 - 1) * dilation as u64 + 1
}

/// How often the window goes over an axis ("calculate conv output size"), rounded down, and whether there is a rest.
pub(super) fn windows(
    size: usize,
    window: usize,
    [before, after]: [usize; 2],
    stride: usize,
    dilation: usize,
) -> Result<(usize, bool), Fault> {
    let padded = size as u64 + before as u64 + after as u64;
    let reach = reach(window, dilation);
    let Some(room) = padded.checked_sub(reach) else {
        return refuse(format!(
            "a window of {reach} over {padded} elements gives no valid dimension"
        ));
    };
    let count = valid_dimension(room / stride as u64 + 1)?;
    Ok((count, room % stride as u64 > 0))
}

fn groups(call: &Call<'_>) -> Result<usize, Fault> {
    let groups = call.option_size("groups", 1)?;
    rule(groups > 0, || "groups is 0".into())?;
    Ok(groups)
}

pub(super) fn conv2d(call: &mut Call<'_>) -> Outputs {
    let x = call.float_of_rank(0, "input", 4)?;
    let filter = call.operand_like(1, "filter", &x)?;
    super::ranked("filter", &filter, 4)?;
    let window = window(call)?;
    let groups = groups(call)?;
    let order = layout(call, "inputLayout")?;
    let filters = [
        ("oihw", NCHW),
        ("hwio", [3, 2, 0, 1]),
        ("ohwi", NHWC),
        ("ihwo", [3, 0, 1, 2]),
    ];
    let filter_order = call.option_one_of("filterLayout", &filters, NCHW)?;
    let [_, channels, height, width] = sizes_in(&x, order);
    let [outputs, each, rows, columns] = sizes_in(&filter, filter_order);
    rule(
        channels.is_multiple_of(groups) && channels / groups == each,
        || format!("{channels} channels in {groups} groups, and a filter of {each} channels"),
    )?;
    rule(outputs.is_multiple_of(groups), || {
        format!("{outputs} output channels are not divisible into {groups} groups")
    })?;
    let bias = call.option_operand("bias", &x, &[outputs])?;
    let [top, bottom, left, right] = window.padding;
    let ([down, along], [taller, wider]) = (window.strides, window.dilations);
    windows(height, rows, [top, bottom], down, taller)?;
    windows(width, columns, [left, right], along, wider)?;
    let emit = call.emit();
    let filter = arranged(emit, filter.value, filter_order)?;
    let y = convolved(emit, &x, order, filter, bias, |emit, x, filter, bias| {
        Ok(emit.graph.conv2d(x, filter, bias, window, groups)?)
    })?;
    Ok(vec![y])
}

/// Brings image, filter and bias to f32 and the image to the engine's layout, and the result back.
fn convolved(
    emit: &mut Emit,
    x: &In,
    order: Order,
    filter: ValueId,
    bias: Option<In>,
    compute: impl FnOnce(&mut Emit, ValueId, ValueId, Option<ValueId>) -> Made,
) -> Made {
    let image = arranged(emit, x.value, order)?;
    let image = emit.cast(image, tensor::DataType::F32)?;
    let filter = emit.cast(filter, tensor::DataType::F32)?;
    let bias = match bias {
        Some(bias) => Some(emit.cast(bias.value, tensor::DataType::F32)?),
        None => None,
    };
    let y = compute(emit, image, filter, bias)?;
    let y = emit.cast(y, x.data_type.engine())?;
    returned(emit, y, order)
}

/// A convolution by the filter turned around, over the input with zeros between its elements.
pub(super) fn conv_transpose2d(call: &mut Call<'_>) -> Outputs {
    let x = call.float_of_rank(0, "input", 4)?;
    let filter = call.operand_like(1, "filter", &x)?;
    super::ranked("filter", &filter, 4)?;
    let window = window(call)?;
    let output_padding = call.option_list("outputPadding", [0; 2])?;
    let sizes = call.option_list("outputSizes", [0; 2])?;
    let sizes = call.option("outputSizes").map(|_| sizes);
    let groups = groups(call)?;
    let order = layout(call, "inputLayout")?;
    let filters = [
        ("iohw", NCHW),
        ("hwoi", [3, 2, 0, 1]),
        ("ohwi", [3, 0, 1, 2]),
    ];
    let filter_order = call.option_one_of("filterLayout", &filters, NCHW)?;
    let [_, channels, height, width] = sizes_in(&x, order);
    let [own, each, rows, columns] = sizes_in(&filter, filter_order);
    rule(channels == own, || {
        format!("{channels} channels, and a filter of {own} input channels")
    })?;
    rule(channels.is_multiple_of(groups), || {
        format!("{channels} channels are not divisible into {groups} groups")
    })?;
    let outputs = valid_dimension(each as u64 * groups as u64)?;
    let bias = call.option_operand("bias", &x, &[outputs])?;
    let mut borders = [[0i64; 2]; 2];
    for (axis, (size, taps)) in [(height, rows), (width, columns)].into_iter().enumerate() {
        let stride = window.strides[axis];
        let [before, after] = [window.padding[2 * axis], window.padding[2 * axis + 1]];
        let reach = reach(taps, window.dilations[axis]) as i64;
        let whole = (size as i64 - 1).saturating_mul(stride as i64);
        let made = whole.saturating_add(reach) - before as i64 - after as i64;
        let more = match sizes {
            Some(sizes) => {
                let more = sizes[axis] as i64 - made;
                rule((0..stride as i64).contains(&more), || {
                    format!("an output size of {} where {made} are made", sizes[axis])
                })?;
                more
            }
            None => {
                let more = output_padding[axis];
                rule(more < stride, || {
                    format!("outputPadding {more} is not less than the stride {stride}")
                })?;
                more as i64
            }
        };
        valid_dimension(u64::try_from(made + more).unwrap_or(0))?;
        borders[axis] = [reach - 1 - before as i64, reach - 1 - after as i64 + more];
    }
    let emit = call.emit();
    let filter = arranged(emit, filter.value, filter_order)?;
    let filter = turned(emit, filter, groups)?;
    let y = convolved(emit, &x, order, filter, bias, |emit, x, filter, bias| {
        let mut spread = x;
        for (at, border) in borders.into_iter().enumerate() {
            spread = zeros_between(emit, spread, at + 2, window.strides[at])?;
            spread = bordered(emit, spread, at + 2, border)?;
        }
        let still = Window {
            dilations: window.dilations,
            ..Window::default()
        };
        Ok(emit.graph.conv2d(spread, filter, bias, still, groups)?)
    })?;
    Ok(vec![y])
}

/// `[channels, outputs / groups, …]` as `[outputs, channels / groups, …]`, height and width turned around.
fn turned(emit: &mut Emit, filter: ValueId, groups: usize) -> Made {
    let shape = emit.shape(filter);
    let [channels, each] = [shape[0], shape[1]];
    let apart = [groups, channels / groups, each, shape[2], shape[3]];
    let filter = emit.reshape(filter, &apart)?;
    let filter = emit.transpose(filter, &[0, 2, 1, 3, 4])?;
    let together = [groups * each, channels / groups, shape[2], shape[3]];
    let filter = emit.reshape(filter, &together)?;
    let filter = emit.turn(filter, 2)?;
    emit.turn(filter, 3)
}

/// `stride − 1` zeros between the elements of an axis.
fn zeros_between(emit: &mut Emit, x: ValueId, axis: usize, stride: usize) -> Made {
    let mut shape = emit.shape(x);
    let size = shape[axis];
    if stride == 1 || size == 1 {
        return Ok(x);
    }
    let mut apart = shape.clone();
    apart.insert(axis + 1, 1);
    let y = emit.reshape(x, &apart)?;
    let (before, mut after) = (vec![0; apart.len()], vec![0; apart.len()]);
    after[axis + 1] = stride - 1;
    let y = emit.pad(y, &before, &after, PadMode::Constant(0.0))?;
    shape[axis] = size * stride;
    let y = emit.reshape(y, &shape)?;
    emit.part(y, axis, 0, (size - 1) * stride + 1)
}

/// Zeros before and after, or as many elements less where a number is negative.
fn bordered(emit: &mut Emit, x: ValueId, axis: usize, [before, after]: [i64; 2]) -> Made {
    let rank = emit.shape(x).len();
    let at = |size: i64| {
        let mut sizes = vec![0; rank];
        sizes[axis] = size.max(0) as usize;
        sizes
    };
    let y = emit.pad(x, &at(before), &at(after), PadMode::Constant(0.0))?;
    let size = emit.shape(y)[axis];
    let (first, last) = ((-before).max(0) as usize, (-after).max(0) as usize);
    match size.checked_sub(first.saturating_add(last)) {
        Some(kept) if kept > 0 => emit.part(y, axis, first, kept),
        _ => beyond("padding beyond all that a transposed convolution makes"),
    }
}

//! Regions of interest of an image, each read at as many points.

use fewbit_engine::graph::op::{Binary, Compare, Logical, ReduceKind};
use fewbit_engine::tensor::DataType;

use super::one;
use super::sampling::{Interpolation, Outside, Tap, both, channels_second, taps, weighed};
use crate::import::context::{Context, MOST_PLACES, Made, Value, of_numbers};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::Node;
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[Entry::widened("RoiAlign", 10, roi_align)];

/// How regions are cut and read.
struct Regions {
    scale: f64,
    offset: f64,
    pooled: [usize; 2],
    greatest: bool,
}

fn roi_align(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, rois, images) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let half = match node.opset {
        16.. => node.word("coordinate_transformation_mode", "half_pixel")?,
        _ => "output_half_pixel".to_owned(),
    };
    let size = |name| -> Result<usize, Refusal> {
        match usize::try_from(node.int(name, 1)?) {
            Ok(size @ 1..=0xffff) => Ok(size),
            _ => wrong(name.to_owned()),
        }
    };
    let regions = Regions {
        scale: node.float("spatial_scale", 1.0)?.into(),
        offset: if half == "half_pixel" { 0.5 } else { 0.0 },
        pooled: [size("output_height")?, size("output_width")?],
        greatest: match node.word("mode", "avg")?.as_str() {
            "avg" => false,
            "max" => true,
            other => return wrong(format!("mode {other:?}")),
        },
    };
    let samples = usize::try_from(node.int("sampling_ratio", 0)?).unwrap_or(0);
    let shape = cx.shape(rois)?;
    let &[count, 4] = &shape[..] else {
        return wrong(format!("regions {shape:?}"));
    };
    let rois = cx.cast(rois, x.data_type)?;
    let images = cx.cast(images, DataType::I64)?;
    if samples > 0 {
        return one(pooled(cx, x, rois, images, [samples; 2], &regions));
    }
    // As many samples as a region has pixels for each place: from the numbers in the regions.
    let known = cx.known_floats(rois)?;
    let mut parts = Vec::new();
    for roi in 0..count {
        let [x1, y1, x2, y2] = [0, 1, 2, 3].map(|at| known[4 * roi + at] * regions.scale);
        let samples = [(y2 - y1, 0), (x2 - x1, 1)].map(|(side, axis)| {
            let side = if regions.offset == 0.0 {
                side.max(1.0)
            } else {
                side
            };
            (side / regions.pooled[axis] as f64).ceil().max(0.0) as usize
        });
        let (own, image) = (cx.slice(rois, 0, roi, 1)?, cx.slice(images, 0, roi, 1)?);
        parts.push(pooled(cx, x, own, image, samples, &regions)?);
    }
    one(cx.concat(&parts, 0))
}

/// The mean (or the greatest part) of `samples` points each way for each place of each region.
fn pooled(
    cx: &mut Context,
    x: Value,
    rois: Value,
    images: Value,
    samples: [usize; 2],
    regions: &Regions,
) -> Made {
    let (shape, count) = (cx.shape(x)?, cx.shape(rois)?[0]);
    let &[batch, channels, height, width] = &shape[..] else {
        return wrong(format!("shape {shape:?}"));
    };
    let pooled = regions.pooled;
    let lines = [0, 1].map(|axis: usize| pooled[axis].saturating_mul(samples[axis]));
    if lines[0].saturating_mul(lines[1]) > MOST_PLACES || height * width == 0 {
        return unsupported(format!("{samples:?} samples a place"));
    }
    if samples.contains(&0) {
        return cx.zeros(&[count, channels, pooled[0], pooled[1]], x.data_type);
    }
    let mut sides = Vec::new();
    for (axis, (first, last, size)) in [(1, 3, height), (0, 2, width)].into_iter().enumerate() {
        let mut ends = [x; 2];
        for (end, column) in ends.iter_mut().zip([first, last]) {
            let part = cx.slice(rois, 1, column, 1)?;
            let part = cx.with(Binary::Mul, part, regions.scale)?;
            *end = cx.with(Binary::Sub, part, regions.offset)?;
        }
        let mut side = cx.sub(ends[1], ends[0])?;
        if regions.offset == 0.0 {
            side = cx.with(Binary::Max, side, 1.0)?;
        }
        let parts: Vec<f64> = (0..lines[axis])
            .map(|at| (at as f64 + 0.5) / lines[axis] as f64)
            .collect();
        let parts = cx.constant(of_numbers(x.data_type, &[1, lines[axis]], &parts)?)?;
        let along = cx.mul(side, parts)?;
        let at = cx.add(ends[0], along)?;
        // One pixel beyond the image still counts as its border.
        let low = cx.compare_with(Compare::GreaterOrEqual, at, -1.0)?;
        let high = cx.compare_with(Compare::LesserOrEqual, at, size as f64)?;
        let inside = cx.logical(Logical::And, low, high)?;
        let mut taps = taps(cx, at, size, Interpolation::Linear, Outside::Border)?;
        for tap in &mut taps {
            tap.inside = Some(inside);
            let mut to = vec![count, 1, 1];
            to[axis + 1] = lines[axis];
            tap.place = cx.reshape(tap.place, &to)?;
            tap.inside = Some(cx.reshape(inside, &to)?);
            if let Some(weight) = tap.weight {
                tap.weight = Some(cx.reshape(weight, &to)?);
            }
        }
        sides.push(taps);
    }
    let flat = cx.reshape(x, &[batch, channels, height * width])?;
    let rows = cx.transpose(flat, &[0, 2, 1])?;
    let rows = cx.reshape(rows, &[batch * height * width, channels])?;
    let start = cx.reshape(images, &[count, 1, 1])?;
    let start = cx.with(Binary::Mul, start, (height * width) as f64)?;
    let mut joined: Option<Value> = None;
    for y in &sides[0] {
        for x in &sides[1] {
            let line = cx.with(Binary::Mul, y.place, width as f64)?;
            let line = cx.add(line, start)?;
            let tap = Tap {
                place: cx.add(line, x.place)?,
                weight: both(cx, y.weight, x.weight, Context::mul)?,
                inside: both(cx, y.inside, x.inside, |cx, a, b| {
                    cx.logical(Logical::And, a, b)
                })?,
            };
            let value = weighed(cx, rows, &tap)?;
            joined = Some(match joined {
                Some(others) if regions.greatest => cx.binary(Binary::Max, others, value)?,
                Some(others) => cx.add(others, value)?,
                None => value,
            });
        }
    }
    let Some(joined) = joined else {
        return wrong("no samples");
    };
    let apart = [
        count, pooled[0], samples[0], pooled[1], samples[1], channels,
    ];
    let joined = cx.reshape(joined, &apart)?;
    let kind = match regions.greatest {
        true => ReduceKind::Max,
        false => ReduceKind::Mean,
    };
    let y = cx.reduce(kind, joined, &[2, 4], false)?;
    channels_second(cx, y)
}

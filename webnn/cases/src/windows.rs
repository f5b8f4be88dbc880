//! Pools and resampling.

use fewbit_webnn::DataType;

use crate::draw::{Drawn, Random, T, indices};

#[derive(Clone, Copy, PartialEq)]
enum Pool {
    Average,
    L2,
    Max,
}

fn pool(random: &mut Random, kind: Pool) -> Drawn {
    let data_type = match kind {
        Pool::Max => random.one_of(&DataType::ALL),
        _ => random.float(),
    };
    let nhwc = random.flag();
    let sizes = [
        random.from(1, 2),
        random.from(1, 3),
        random.from(3, 7),
        random.from(3, 7),
    ];
    let order = if nhwc { [0, 2, 3, 1] } else { [0, 1, 2, 3] };
    let x = random.tensor(data_type, &order.map(|axis| sizes[axis]), 0.0, 100.0);
    let window = [random.from(1, 3), random.from(1, 3)];
    let (strides, dilations) = (
        [random.from(1, 3), random.from(1, 3)],
        [random.from(1, 2), random.from(1, 2)],
    );
    let mut padding = [0; 4];
    let mut out = sizes;
    let up = random.flag();
    for axis in 0..2 {
        // Less than a window before and after it, so that each window sees something.
        let most = window[axis] - 1;
        padding[2 * axis] = random.from(0, most);
        padding[2 * axis + 1] = random.from(0, most);
        let reach = (window[axis] - 1) * dilations[axis] + 1;
        let padded = sizes[2 + axis] + padding[2 * axis] + padding[2 * axis + 1];
        if padded < reach {
            return pool(random, kind);
        }
        let room = padded - reach;
        out[2 + axis] = 1 + match up {
            true => room.div_ceil(strides[axis]),
            false => room / strides[axis],
        };
    }
    // What a window sees of the input, in the order of batch, channels, height, width.
    let seen = |at: &[usize; 4]| -> Vec<f64> {
        let taps = indices(&window);
        let places = taps.iter().filter_map(|tap| {
            let mut place = *at;
            for axis in 0..2 {
                let padded = at[2 + axis] * strides[axis] + tap[axis] * dilations[axis];
                let inside = padded.checked_sub(padding[2 * axis])?;
                place[2 + axis] = (inside < sizes[2 + axis]).then_some(inside)?;
            }
            Some(x.at(&order.map(|axis| place[axis])))
        });
        places.collect()
    };
    for (at, _) in indices(&out).iter().zip(0..) {
        let at: [usize; 4] = at.as_slice().try_into().unwrap();
        if seen(&at).is_empty() {
            // Rounded up, a last window may see nothing at all.
            return pool(random, kind);
        }
    }
    let shape = order.map(|axis| out[axis]);
    let expected = T::made(data_type, &shape, |index| {
        let mut at = [0; 4];
        for (from, &axis) in order.iter().enumerate() {
            at[axis] = index[from];
        }
        let seen = seen(&at);
        match kind {
            Pool::Average => seen.iter().sum::<f64>() / seen.len() as f64,
            Pool::L2 => seen.iter().map(|x| x * x).sum::<f64>().sqrt(),
            Pool::Max => seen.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    });
    let drawn = Drawn::of(&[&x], expected)
        .option("windowDimensions", window)
        .option("padding", padding)
        .option("strides", strides)
        .option("dilations", dilations)
        .option("layout", if nhwc { "nhwc" } else { "nchw" });
    match random.flag() {
        true => drawn.option("outputShapeRounding", if up { "ceil" } else { "floor" }),
        false if up => drawn.option("outputShapeRounding", "ceil"),
        false => drawn,
    }
}

pub(crate) fn average_pool(random: &mut Random) -> Drawn {
    pool(random, Pool::Average)
}

pub(crate) fn l2_pool(random: &mut Random) -> Drawn {
    pool(random, Pool::L2)
}

pub(crate) fn max_pool(random: &mut Random) -> Drawn {
    pool(random, Pool::Max)
}

pub(crate) fn resample(random: &mut Random) -> Drawn {
    const TYPES: [DataType; 4] = [
        DataType::Float32,
        DataType::Float16,
        DataType::Uint8,
        DataType::Int8,
    ];
    let linear = random.flag();
    let data_type = match linear {
        true => random.float(),
        false => random.one_of(&TYPES),
    };
    let shape: Vec<usize> = (0..4).map(|_| random.from(1, 5)).collect();
    let x = random.tensor(data_type, &shape, 0.0, 100.0);
    let axes = random.one_of(&[[2, 3], [1, 2], [0, 1], [3, 1]]);
    let by_sizes = random.flag();
    let (mut out, mut sizes, mut scales) = (shape.clone(), [0; 2], [0.0; 2]);
    for (at, &axis) in axes.iter().enumerate() {
        sizes[at] = random.from(1, 8);
        scales[at] = random.one_of(&[0.5, 1.0, 2.0, 2.5, 3.0]);
        out[axis] = match by_sizes {
            true => sizes[at],
            false => ((shape[axis] as f64 * scales[at]) as usize).max(1),
        };
        if !by_sizes && shape[axis] as f64 * scales[at] < 1.0 {
            scales[at] = 1.0;
            out[axis] = shape[axis];
        }
    }
    let coordinate = |axis: usize, at: usize| {
        let scale = out[axis] as f64 / shape[axis] as f64;
        ((at as f64 + 0.5) / scale - 0.5).clamp(0.0, shape[axis] as f64 - 1.0)
    };
    let expected = T::made(data_type, &out, |index| {
        let mut sum = 0.0;
        for corner in 0..4 {
            let (mut from, mut weight) = (index.to_vec(), 1.0);
            for (bit, &axis) in axes.iter().enumerate() {
                let place = coordinate(axis, index[axis]);
                if !linear {
                    from[axis] = (place - 0.5 - 1e-9).ceil() as usize;
                    weight *= 0.5;
                    continue;
                }
                let part = place - place.floor();
                let above = corner >> bit & 1 == 1;
                from[axis] = if above { place.ceil() } else { place.floor() } as usize;
                weight *= if above { part } else { 1.0 - part };
            }
            sum += weight * x.at(&from);
        }
        sum
    });
    let drawn = Drawn::of(&[&x], expected).option("axes", axes);
    let drawn = match linear {
        true => drawn.option("mode", "linear"),
        false => drawn,
    };
    match by_sizes {
        true => drawn.option("sizes", sizes),
        false => {
            let scales = scales.map(fewbit_webnn::Value::from).to_vec();
            drawn.option("scales", fewbit_webnn::Value::List(scales))
        }
    }
}

//! Operators over indices; some of those are negative, some out of bounds.

use fewbit_webnn::DataType;

use crate::draw::{Drawn, Random, T, indices};

fn data(random: &mut Random) -> T {
    let data_type = random.one_of(&DataType::ALL);
    let shape = random.shape(1, 4);
    random.tensor(data_type, &shape, 0.0, 100.0)
}

fn index_type(random: &mut Random) -> DataType {
    random.one_of(&[DataType::Int32, DataType::Uint32, DataType::Int64])
}

/// The place on an axis that an index means.
fn place(index: f64, size: usize) -> usize {
    let index = if index < 0.0 {
        index + size as f64
    } else {
        index
    };
    index.clamp(0.0, size as f64 - 1.0) as usize
}

fn drawn_index(random: &mut Random, data_type: DataType, size: usize) -> f64 {
    let within = random.from(0, 2 * size - 1) as f64 - size as f64;
    let index = match random.from(0, 9) {
        0 => size as f64 + 5.0,
        1 => -(size as f64) - 5.0,
        2 if data_type == DataType::Int64 => 1e15,
        3 if data_type == DataType::Uint32 => 4e9,
        _ => within,
    };
    if data_type == DataType::Uint32 {
        index.abs()
    } else {
        index
    }
}

pub(crate) fn gather_elements(random: &mut Random) -> Drawn {
    let x = data(random);
    let (axis, data_type) = (random.from(0, x.shape.len() - 1), index_type(random));
    let mut shape = x.shape.clone();
    shape[axis] = random.from(1, 4);
    let count = shape.iter().product();
    let values = (0..count)
        .map(|_| drawn_index(random, data_type, x.shape[axis]))
        .collect();
    let at = T::new(data_type, &shape, values);
    let expected = T::made(x.data_type, &shape, |index| {
        let mut from = index.to_vec();
        from[axis] = place(at.at(index), x.shape[axis]);
        x.at(&from)
    });
    Drawn::of(&[&x, &at], expected).option("axis", axis)
}

/// Whole coordinates into the first dimensions.
fn coordinates(random: &mut Random, x: &T) -> T {
    let (depth, data_type) = (random.from(1, x.shape.len()), index_type(random));
    let mut shape = random.shape(0, 2);
    shape.push(depth);
    let count: usize = shape.iter().product();
    let values = (0..count).map(|i| drawn_index(random, data_type, x.shape[i % depth]));
    let values = values.collect();
    T::new(data_type, &shape, values)
}

/// Where the row of coordinates number `at` leads.
fn row(x: &T, coordinates: &T, at: usize) -> Vec<usize> {
    let depth = coordinates.shape[coordinates.shape.len() - 1];
    let own = &coordinates.values[at * depth..][..depth];
    own.iter()
        .zip(&x.shape)
        .map(|(&i, &n)| place(i, n))
        .collect()
}

pub(crate) fn gather_nd(random: &mut Random) -> Drawn {
    let x = data(random);
    let at = coordinates(random, &x);
    let (depth, rank) = (at.shape[at.shape.len() - 1], at.shape.len() - 1);
    let mut shape = at.shape[..rank].to_vec();
    shape.extend(&x.shape[depth..]);
    let outer = at.shape[..rank].to_vec();
    let expected = T::made(x.data_type, &shape, |index| {
        let number = index
            .iter()
            .zip(&outer)
            .fold(0, |number, (i, n)| number * n + i);
        let mut from = row(&x, &at, number);
        from.extend(&index[rank..]);
        x.at(&from)
    });
    Drawn::of(&[&x, &at], expected)
}

fn put(x: &mut T, index: &[usize], value: f64) {
    let place = x.shape.iter().zip(index).fold(0, |at, (n, i)| at * n + i);
    x.values[place] = value;
}

/// Of several updates of one place any may stay, so each place has one.
pub(crate) fn scatter_elements(random: &mut Random) -> Drawn {
    let x = data(random);
    let (axis, data_type) = (random.from(0, x.shape.len() - 1), index_type(random));
    let size = x.shape[axis];
    let mut shape = x.shape.clone();
    shape[axis] = random.from(1, size);
    let turn = random.from(0, size - 1);
    let at = T::made(data_type, &shape, |index| {
        let place = ((index[axis] + turn) % size) as f64;
        let negative = data_type != DataType::Uint32 && index.iter().sum::<usize>() % 2 == 1;
        if negative { place - size as f64 } else { place }
    });
    let updates = random.tensor(x.data_type, &shape, 0.0, 100.0);
    let mut expected = x.clone();
    for index in indices(&shape) {
        let mut to = index.clone();
        to[axis] = place(at.at(&index), size);
        put(&mut expected, &to, updates.at(&index));
    }
    Drawn::of(&[&x, &at, &updates], expected).option("axis", axis)
}

pub(crate) fn scatter_nd(random: &mut Random) -> Drawn {
    let x = data(random);
    // One row of coordinates, or as many as the first axis has places.
    let mut at = coordinates(random, &x);
    let depth = at.shape[at.shape.len() - 1];
    if random.flag() {
        at = T::new(at.data_type, &[depth], at.values[..depth].to_vec());
    } else {
        let size = x.shape[0];
        at = T::made(at.data_type, &[size, depth], |index| match index[1] {
            0 => index[0] as f64,
            _ => 0.0,
        });
    }
    let rank = at.shape.len() - 1;
    let mut shape = at.shape[..rank].to_vec();
    shape.extend(&x.shape[depth..]);
    let updates = random.tensor(x.data_type, &shape, 0.0, 100.0);
    let mut expected = x.clone();
    for index in indices(&shape) {
        let mut to = row(&x, &at, if rank == 0 { 0 } else { index[0] });
        to.extend(&index[rank..]);
        put(&mut expected, &to, updates.at(&index));
    }
    Drawn::of(&[&x, &at, &updates], expected)
}

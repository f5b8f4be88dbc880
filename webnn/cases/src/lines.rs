//! Operators along axes, and the product of matrices.

use fewbit_webnn::DataType;

use crate::draw::{Drawn, Random, T};

fn arg(random: &mut Random, largest: bool) -> Drawn {
    let data_type = random.one_of(&DataType::ALL);
    let shape = random.shape(1, 4);
    // Few numbers, so that some are equal.
    let x = random.tensor(data_type, &shape, 0.0, 5.0);
    let axis = random.from(0, shape.len() - 1);
    let (keep, to) = (
        random.flag(),
        random.one_of(&[DataType::Int32, DataType::Int64]),
    );
    let mut kept = shape.clone();
    kept[axis] = 1;
    let first = |index: &[usize]| {
        let mut index = index.to_vec();
        let mut best = (0, f64::NAN);
        for place in 0..shape[axis] {
            index[axis] = place;
            let x = x.at(&index);
            let better = if largest { x > best.1 } else { x < best.1 };
            if place == 0 || better {
                best = (place, x);
            }
        }
        best.0 as f64
    };
    let mut expected = T::made(to, &kept, first);
    if !keep {
        expected.shape.remove(axis);
    }
    let drawn = Drawn::of(&[&x], expected).and(axis);
    drawn
        .option("keepDimensions", keep)
        .option("outputDataType", to.name())
}

pub(crate) fn arg_max(random: &mut Random) -> Drawn {
    arg(random, true)
}

pub(crate) fn arg_min(random: &mut Random) -> Drawn {
    arg(random, false)
}

pub(crate) fn cumulative_sum(random: &mut Random) -> Drawn {
    const TYPES: [DataType; 6] = [
        DataType::Float32,
        DataType::Float16,
        DataType::Int32,
        DataType::Uint32,
        DataType::Int64,
        DataType::Uint64,
    ];
    let (data_type, shape) = (random.one_of(&TYPES), random.shape(1, 4));
    let least = if data_type.name().starts_with('u') {
        0.0
    } else {
        -50.0
    };
    let x = random.tensor(data_type, &shape, least, 50.0);
    let axis = random.from(0, shape.len() - 1);
    let (exclusive, reversed) = (random.flag(), random.flag());
    let expected = T::made(data_type, &shape, |index| {
        let at = index[axis];
        let mut from = index.to_vec();
        let mut sum = 0.0;
        for place in 0..shape[axis] {
            let before = if reversed { place > at } else { place < at };
            if before || (place == at && !exclusive) {
                from[axis] = place;
                sum += x.at(&from);
            }
        }
        sum
    });
    let drawn = Drawn::of(&[&x], expected).and(axis);
    drawn
        .option("exclusive", exclusive)
        .option("reversed", reversed)
}

pub(crate) fn gemm(random: &mut Random) -> Drawn {
    let data_type = random.float();
    let [rows, inner, columns] = [(); 3].map(|()| random.from(1, 6));
    let (a_turned, b_turned) = (random.flag(), random.flag());
    let shape = |turned: bool, a: usize, b: usize| if turned { [b, a] } else { [a, b] };
    let a = random.tensor(data_type, &shape(a_turned, rows, inner), -1.0, 1.0);
    let b = random.tensor(data_type, &shape(b_turned, inner, columns), -1.0, 1.0);
    let forms = [
        vec![],
        vec![columns],
        vec![1, columns],
        vec![rows, 1],
        vec![rows, columns],
    ];
    let c = random.one_of(&forms);
    let c = random.tensor(data_type, &c, -1.0, 1.0);
    let numbers = [0.5, -2.0, 1.0];
    let (alpha, beta, with_c) = (
        random.one_of(&numbers),
        random.one_of(&numbers),
        random.flag(),
    );
    let at = |x: &T, turned: bool, i: usize, j: usize| x.at(&if turned { [j, i] } else { [i, j] });
    let expected = T::made(data_type, &[rows, columns], |index| {
        let products =
            (0..inner).map(|k| at(&a, a_turned, index[0], k) * at(&b, b_turned, k, index[1]));
        let added = if with_c { beta * c.at(index) } else { 0.0 };
        alpha * products.sum::<f64>() + added
    });
    let drawn = Drawn::of(&[&a, &b], expected);
    let drawn = drawn
        .option("aTranspose", a_turned)
        .option("bTranspose", b_turned);
    let drawn = drawn.option("alpha", alpha).option("beta", beta);
    match with_c {
        true => drawn.operand("c", &c),
        false => drawn,
    }
}

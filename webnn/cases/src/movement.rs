//! Operators that move elements.

use fewbit_webnn::DataType;

use crate::draw::{Drawn, Random, T, indices};

fn any(random: &mut Random, least: usize) -> T {
    let data_type = random.one_of(&DataType::ALL);
    let shape = random.shape(least, 4);
    random.tensor(data_type, &shape, 0.0, 100.0)
}

pub(crate) fn pad(random: &mut Random) -> Drawn {
    let x = any(random, 0);
    let mode = random.one_of(&["constant", "edge", "reflection"]);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for &size in &x.shape {
        let most = if mode == "reflection" { size - 1 } else { 3 };
        before.push(random.from(0, most));
        after.push(random.from(0, most));
    }
    let number = random.from(0, 9) as f64;
    let sizes = x.shape.iter().zip(before.iter().zip(&after));
    let shape: Vec<usize> = sizes.map(|(n, (a, b))| n + a + b).collect();
    let expected = T::made(x.data_type, &shape, |index| {
        let mut from = Vec::new();
        for (axis, &i) in index.iter().enumerate() {
            let (size, at) = (x.shape[axis] as i64, i as i64 - before[axis] as i64);
            let inside = (0..size).contains(&at);
            from.push(match mode {
                _ if inside => at,
                "constant" => return number,
                "edge" => at.clamp(0, size - 1),
                _ if at < 0 => -at,
                _ => 2 * (size - 1) - at,
            } as usize);
        }
        x.at(&from)
    });
    let drawn = Drawn::of(&[&x], expected)
        .and(before.as_slice())
        .and(after.as_slice());
    drawn.option("mode", mode).option("value", number)
}

pub(crate) fn reverse(random: &mut Random) -> Drawn {
    let x = any(random, 0);
    let given = random.flag();
    let axes: Vec<usize> = (0..x.shape.len())
        .filter(|_| !given || random.flag())
        .collect();
    let expected = T::made(x.data_type, &x.shape, |index| {
        let turn = |(axis, &i): (usize, &usize)| match axes.contains(&axis) {
            true => x.shape[axis] - 1 - i,
            false => i,
        };
        x.at(&index.iter().enumerate().map(turn).collect::<Vec<_>>())
    });
    let drawn = Drawn::of(&[&x], expected);
    match given {
        true => drawn.option("axes", axes.as_slice()),
        false => drawn,
    }
}

pub(crate) fn tile(random: &mut Random) -> Drawn {
    let x = any(random, 0);
    let times: Vec<usize> = x.shape.iter().map(|_| random.from(1, 3)).collect();
    let shape: Vec<usize> = x.shape.iter().zip(&times).map(|(n, t)| n * t).collect();
    let expected = T::made(x.data_type, &shape, |index| {
        let from = index.iter().zip(&x.shape).map(|(i, n)| i % n);
        x.at(&from.collect::<Vec<_>>())
    });
    Drawn::of(&[&x], expected).and(times.as_slice())
}

pub(crate) fn triangular(random: &mut Random) -> Drawn {
    let x = any(random, 2);
    let (upper, diagonal) = (random.flag(), random.from(0, 8) as i64 - 4);
    let rank = x.shape.len();
    let expected = T::made(x.data_type, &x.shape, |index| {
        let off = index[rank - 1] as i64 - index[rank - 2] as i64;
        let kept = if upper {
            off >= diagonal
        } else {
            off <= diagonal
        };
        if kept { x.at(index) } else { 0.0 }
    });
    assert_eq!(indices(&x.shape).len(), expected.values.len());
    let drawn = Drawn::of(&[&x], expected);
    drawn
        .option("upper", upper)
        .option("diagonal", diagonal as f64)
}

use super::*;
use crate::graph::op::{Conv2d, CumulativeSum, Pad, PadMode, Pool2d, PoolKind, Window};

fn conv(window: Window, groups: usize, bias: bool) -> Op {
    Op::Conv2d(Conv2d {
        window,
        groups,
        bias,
    })
}

#[test]
fn a_window_of_four_steps_over_an_image_with_one_row_of_padding() {
    let x = f(&[1, 1, 2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let filter = f(&[1, 1, 2, 2], &[1.0, 10.0, 100.0, 1000.0]);
    let window = Window {
        padding: [1, 0, 0, 0],
        ..Window::default()
    };
    let got = run(conv(window, 1, false), &[&x, &filter]);
    // The upper row of windows sees the padding above.
    assert_eq!(got, f(&[1, 1, 2, 2], &[2100.0, 3200.0, 5421.0, 6532.0]));
    let window = Window {
        strides: [2, 1],
        dilations: [1, 2],
        padding: [0, 1, 0, 0],
    };
    let bias = f(&[1], &[0.5]);
    let got = run(conv(window, 1, true), &[&x, &filter, &bias]);
    assert_eq!(got, f(&[1, 1, 1, 1], &[1.0 + 30.0 + 400.0 + 6000.0 + 0.5]));
}

#[test]
fn groups_see_their_own_channels() {
    let x = f(&[1, 4, 1, 1], &[1.0, 2.0, 3.0, 4.0]);
    let filter = f(&[2, 2, 1, 1], &[1.0, 10.0, 1.0, 10.0]);
    let got = run(conv(Window::default(), 2, false), &[&x, &filter]);
    assert_eq!(got, f(&[1, 2, 1, 1], &[21.0, 43.0]));
}

#[test]
fn pools_do_not_count_padding() {
    let x = f(&[1, 1, 2, 2], &[-1.0, -2.0, -3.0, -4.0]);
    let pool = |kind| {
        Op::Pool2d(Pool2d {
            kind,
            size: [2, 2],
            window: Window {
                padding: [1, 0, 1, 0],
                ..Window::default()
            },
        })
    };
    let got = run(pool(PoolKind::Max), &[&x]);
    assert_eq!(got, f(&[1, 1, 2, 2], &[-1.0, -1.0, -1.0, -1.0]));
    let got = run(pool(PoolKind::Average), &[&x]);
    assert_eq!(got, f(&[1, 1, 2, 2], &[-1.0, -1.5, -2.0, -2.5]));
}

#[test]
fn padding_repeats_mirrors_or_fills() {
    let x = i(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    let pad = |mode| {
        Op::Pad(Pad {
            before: vec![1, 2],
            after: vec![0, 1],
            mode,
        })
    };
    let got = run(pad(PadMode::Constant(7.0)), &[&x]);
    let rows = [[7; 6], [7, 7, 1, 2, 3, 7], [7, 7, 4, 5, 6, 7]];
    assert_eq!(got, i(&[3, 6], rows.as_flattened()));
    let got = run(pad(PadMode::Edge), &[&x]);
    let rows = [[1, 1, 1, 2, 3, 3], [1, 1, 1, 2, 3, 3], [4, 4, 4, 5, 6, 6]];
    assert_eq!(got, i(&[3, 6], rows.as_flattened()));
    let got = run(pad(PadMode::Reflection), &[&x]);
    let rows = [[6, 5, 4, 5, 6, 5], [3, 2, 1, 2, 3, 2], [6, 5, 4, 5, 6, 5]];
    assert_eq!(got, i(&[3, 6], rows.as_flattened()));
}

#[test]
fn sums_from_either_end_with_the_element_or_without() {
    let x = i(&[2, 3], &[1, 2, 3, 10, 20, 30]);
    for (exclusive, reversed, expected) in [
        (false, false, [1, 3, 6, 10, 30, 60]),
        (true, false, [0, 1, 3, 0, 10, 30]),
        (false, true, [6, 5, 3, 60, 50, 30]),
        (true, true, [5, 3, 0, 50, 30, 0]),
    ] {
        let op = Op::CumulativeSum(CumulativeSum {
            axis: 1,
            exclusive,
            reversed,
        });
        assert_eq!(run(op, &[&x]), i(&[2, 3], &expected));
    }
}

//! Products with stored matrices.

use crate::draft::Draft;

#[test]
fn a_linear_layer_with_its_bias() {
    for half in [false, true] {
        for turned in [false, true] {
            let mut d = Draft::of(half);
            let x = d.input(&[2, 3, 8]);
            let (w, bias) = match turned {
                true => {
                    let w = d.weight(&[5, 8]);
                    (d.transpose(w, &[1, 0]), d.weight(&[5]))
                }
                false => (d.weight(&[8, 5]), d.weight(&[5])),
            };
            let y = d.matmul(x, w);
            let y = d.add(bias, y);
            let wanted: &[&str] = match turned {
                true => &["block_matmul"],
                false => &["transpose", "block_matmul"],
            };
            assert_eq!(d.rewritten(y), wanted, "turned {turned}");
        }
    }
}

#[test]
fn products_of_what_is_computed_are_left_alone() {
    let mut d = Draft::default();
    let (x, other) = (d.input(&[3, 8]), d.input(&[8, 5]));
    let y = d.matmul(x, other);
    assert_eq!(d.rewritten(y), ["matmul"]);

    // Matrices of a batch.
    let mut d = Draft::default();
    let (x, w) = (d.input(&[2, 3, 8]), d.weight(&[2, 8, 5]));
    let y = d.matmul(x, w);
    assert_eq!(d.rewritten(y), ["matmul"]);
}

#[test]
fn a_sum_with_what_is_no_bias_stays_a_sum() {
    // Something else reads the product, or the summand is not stored, or is of another shape.
    for case in 0..3 {
        let mut d = Draft::default();
        let (x, w) = (d.input(&[3, 8]), d.weight(&[8, 5]));
        let product = d.matmul(x, w);
        let summand = match case {
            0 => d.weight(&[5]),
            1 => d.input(&[5]),
            _ => d.weight(&[3, 5]),
        };
        let mut y = d.add(product, summand);
        if case == 0 {
            y = d.mul(y, product);
        }
        assert!(d.rewritten(y).contains(&"add"), "case {case}");
    }
}

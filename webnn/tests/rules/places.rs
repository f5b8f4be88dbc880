//! Operators that move elements, by themselves or by index.

use fewbit_webnn::{DataType, Value};

use crate::Broken;
use crate::call::*;
use DataType::{Float32, Int8, Int32, Int64};

pub(crate) fn broken() -> Vec<Broken> {
    let none = Vec::new;
    let t = "allowed data types";
    vec![
        // moving elements
        (
            "concat",
            vec![v(Value::List(vec![])), n(0)],
            none(),
            "tensor count",
        ),
        (
            "concat",
            vec![A::Many(vec![(Float32, vec![2])]), n(1)],
            none(),
            "rank",
        ),
        (
            "concat",
            vec![A::Many(vec![(Float32, vec![2]), (Int32, vec![2])]), n(0)],
            none(),
            "is not equal",
        ),
        (
            "concat",
            vec![
                A::Many(vec![(Float32, vec![2, 2]), (Float32, vec![2, 3])]),
                n(0),
            ],
            none(),
            "differ",
        ),
        ("expand", vec![f(&[2]), v([3])], none(), "broadcast"),
        ("expand", vec![f(&[2, 2]), v([2])], none(), "broadcast"),
        ("expand", vec![f(&[1]), v([0])], none(), "valid dimension"),
        ("reshape", vec![f(&[4]), v([3])], none(), "elements"),
        (
            "reshape",
            vec![f(&[4]), v([0, 4])],
            none(),
            "valid dimension",
        ),
        (
            "transpose",
            vec![f(&[2, 3])],
            vec![("permutation", v([0]))],
            "rank",
        ),
        (
            "transpose",
            vec![f(&[2, 3])],
            vec![("permutation", v([0, 2]))],
            "rank",
        ),
        (
            "transpose",
            vec![f(&[2, 3])],
            vec![("permutation", v([0, 0]))],
            "twice",
        ),
        ("reverse", vec![f(&[2])], vec![("axes", v([1]))], "rank"),
        ("slice", vec![f(&[4]), v([0, 0]), v([1])], none(), "rank"),
        ("slice", vec![f(&[4]), v([0]), v([0])], none(), "is 0"),
        (
            "slice",
            vec![f(&[4]), v([2]), v([3])],
            none(),
            "greater than",
        ),
        (
            "slice",
            vec![f(&[4]), v([0]), v([4])],
            vec![("strides", v([0]))],
            "less than 1",
        ),
        (
            "slice",
            vec![f(&[4]), v([0]), v([4])],
            vec![("strides", v([1, 1]))],
            "rank",
        ),
        ("split", vec![f(&[4]), n(3)], none(), "divisible"),
        ("split", vec![f(&[4]), n(0)], none(), "tensor count"),
        ("split", vec![f(&[4]), v([1, 2])], none(), "sum"),
        ("split", vec![f(&[4]), v([4, 0])], none(), "have a 0"),
        ("split", vec![f(&[4]), n(2)], vec![("axis", n(1))], "rank"),
        ("tile", vec![f(&[4]), v([1, 1])], none(), "rank"),
        ("tile", vec![f(&[4]), v([0])], none(), "contain a 0"),
        (
            "tile",
            vec![f(&[4]), v([1 << 30])],
            none(),
            "valid dimension",
        ),
        ("pad", vec![f(&[4]), v([1, 1]), v([1])], none(), "rank"),
        (
            "pad",
            vec![f(&[4]), v([4]), v([0])],
            vec![("mode", v("reflection"))],
            "not less than",
        ),
        (
            "pad",
            vec![f(&[4]), v([1]), v([1])],
            vec![("mode", v("symmetric"))],
            "enumeration",
        ),
        ("triangular", vec![f(&[4])], none(), "less than 2"),
        (
            "triangular",
            vec![f(&[4, 4])],
            vec![("diagonal", v(1e10))],
            "is not from",
        ),
        // indices
        ("gather", vec![f(&[4]), f(&[2])], none(), t),
        (
            "gather",
            vec![f(&[4]), of(Int32, &[2])],
            vec![("axis", n(1))],
            "rank",
        ),
        ("gather", vec![f(&[]), of(Int32, &[2])], none(), "scalar"),
        (
            "gatherElements",
            vec![f(&[4, 2]), of(Int32, &[3, 3])],
            none(),
            "shape",
        ),
        (
            "gatherElements",
            vec![f(&[4, 2]), of(Int32, &[4])],
            none(),
            "rank",
        ),
        (
            "gatherND",
            vec![f(&[4]), of(Int32, &[2, 2])],
            none(),
            "greater than",
        ),
        ("gatherND", vec![f(&[4]), of(Int32, &[])], none(), "scalar"),
        (
            "scatterElements",
            vec![f(&[4]), of(Int32, &[2]), f(&[3])],
            none(),
            "shape",
        ),
        (
            "scatterElements",
            vec![f(&[4]), of(Int32, &[2]), of(Int32, &[2])],
            none(),
            "is not equal",
        ),
        (
            "scatterElements",
            vec![f(&[4]), of(Int8, &[2]), f(&[2])],
            none(),
            t,
        ),
        (
            "scatterND",
            vec![f(&[4]), of(Int64, &[2, 1]), f(&[3])],
            none(),
            "shape",
        ),
        (
            "scatterND",
            vec![f(&[4]), of(Int64, &[2, 2]), f(&[2])],
            none(),
            "greater than",
        ),
    ]
}

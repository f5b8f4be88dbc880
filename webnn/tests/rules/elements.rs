//! Operators on elements and along axes.

use fewbit_webnn::DataType;

use crate::Broken;
use crate::call::*;
use DataType::{Float16, Int8, Int32, Uint8};

pub(crate) fn broken() -> Vec<Broken> {
    let none = Vec::new;
    let t = "allowed data types";
    vec![
        ("nothing", vec![f(&[2])], none(), "no such operator"),
        ("relu", vec![], none(), "arguments"),
        ("relu", vec![n(1)], none(), "MLOperand"),
        ("relu", vec![f(&[2]), n(1)], none(), "no dictionary"),
        // element-wise
        ("abs", vec![of(Uint8, &[2])], none(), t),
        ("relu", vec![of(DataType::Uint32, &[2])], none(), t),
        ("exp", vec![of(Int32, &[2])], none(), t),
        ("roundEven", vec![of(Int32, &[2])], none(), t),
        ("sign", vec![of(Uint8, &[2])], none(), t),
        (
            "add",
            vec![f(&[2]), of(Float16, &[2])],
            none(),
            "is not equal",
        ),
        ("add", vec![f(&[2]), f(&[3])], none(), "broadcast"),
        (
            "equal",
            vec![f(&[2]), of(Int32, &[2])],
            none(),
            "is not equal",
        ),
        ("greater", vec![f(&[2]), f(&[3])], none(), "broadcast"),
        ("logicalAnd", vec![f(&[2]), f(&[2])], none(), t),
        (
            "logicalOr",
            vec![of(Uint8, &[2]), of(Uint8, &[3])],
            none(),
            "broadcast",
        ),
        ("logicalNot", vec![f(&[2])], none(), t),
        ("where", vec![f(&[2]), f(&[2]), f(&[2])], none(), t),
        (
            "where",
            vec![of(Uint8, &[2]), f(&[2]), of(Int32, &[2])],
            none(),
            "is not equal",
        ),
        (
            "where",
            vec![of(Uint8, &[3]), f(&[2]), f(&[2])],
            none(),
            "broadcast",
        ),
        ("cast", vec![f(&[2]), v("float64")], none(), "enumeration"),
        (
            "clamp",
            vec![f(&[2])],
            vec![("minValue", n(2)), ("maxValue", n(1))],
            "greater than maxValue",
        ),
        // activations
        ("sigmoid", vec![of(Int32, &[2])], none(), t),
        ("gelu", vec![of(Int8, &[2])], none(), t),
        (
            "elu",
            vec![f(&[2])],
            vec![("alpha", v(f64::NAN))],
            "not finite",
        ),
        (
            "linear",
            vec![f(&[2])],
            vec![("beta", v(f64::INFINITY))],
            "not finite",
        ),
        (
            "prelu",
            vec![f(&[2]), of(Float16, &[2])],
            none(),
            "is not equal",
        ),
        ("prelu", vec![f(&[2]), f(&[3])], none(), "broadcast"),
        ("prelu", vec![of(Uint8, &[2]), of(Uint8, &[2])], none(), t),
        ("softmax", vec![f(&[2, 3]), n(2)], none(), "rank"),
        ("softmax", vec![f(&[2, 3]), n(-1)], none(), "is not from"),
        // along axes
        ("reduceMean", vec![of(Int32, &[2])], none(), t),
        ("reduceL1", vec![of(Int8, &[2])], none(), t),
        ("reduceSum", vec![f(&[2])], vec![("axes", v([1]))], "rank"),
        (
            "reduceMax",
            vec![f(&[2, 2])],
            vec![("axes", v([1, 1]))],
            "twice",
        ),
        ("argMax", vec![f(&[2]), n(1)], none(), "rank"),
        (
            "argMin",
            vec![f(&[2]), n(0)],
            vec![("outputDataType", v("uint8"))],
            "enumeration",
        ),
        ("cumulativeSum", vec![of(Int8, &[2]), n(0)], none(), t),
        ("cumulativeSum", vec![f(&[2]), n(1)], none(), "rank"),
    ]
}

//! Convolutions, pools, normalizations, products, quantization, resampling and recurrent networks.

use fewbit_webnn::{DataType, Value};

use crate::Broken;
use crate::call::*;
use DataType::{Float16, Int8, Int32, Int64, Uint8};

pub(crate) fn broken() -> Vec<Broken> {
    let x4 = || f(&[1, 4, 5, 5]);
    let filter = || f(&[2, 4, 3, 3]);
    let none = Vec::new;
    let t = "allowed data types";
    vec![
        // convolutions
        ("conv2d", vec![f(&[4, 5, 5]), filter()], none(), "rank"),
        (
            "conv2d",
            vec![of(Int32, &[1, 4, 5, 5]), of(Int32, &[2, 4, 3, 3])],
            none(),
            t,
        ),
        (
            "conv2d",
            vec![x4(), of(Float16, &[2, 4, 3, 3])],
            none(),
            "is not equal",
        ),
        ("conv2d", vec![x4(), f(&[2, 3, 3, 3])], none(), "channels"),
        (
            "conv2d",
            vec![x4(), filter()],
            vec![("groups", n(0))],
            "groups is 0",
        ),
        (
            "conv2d",
            vec![x4(), filter()],
            vec![("groups", n(3))],
            "groups",
        ),
        (
            "conv2d",
            vec![x4(), f(&[3, 2, 3, 3])],
            vec![("groups", n(2))],
            "not divisible",
        ),
        (
            "conv2d",
            vec![x4(), filter()],
            vec![("padding", v([1, 1]))],
            "size is",
        ),
        (
            "conv2d",
            vec![x4(), filter()],
            vec![("strides", v([0, 1]))],
            "have a 0",
        ),
        (
            "conv2d",
            vec![x4(), filter()],
            vec![("dilations", v([1, 0]))],
            "have a 0",
        ),
        (
            "conv2d",
            vec![x4(), filter()],
            vec![("dilations", v([3, 1]))],
            "valid dimension",
        ),
        (
            "conv2d",
            vec![x4(), filter()],
            vec![("bias", f(&[3]))],
            "shape",
        ),
        (
            "conv2d",
            vec![x4(), filter()],
            vec![("bias", of(Float16, &[2]))],
            "is not equal",
        ),
        (
            "conv2d",
            vec![x4(), filter()],
            vec![("inputLayout", v("chwn"))],
            "enumeration",
        ),
        (
            "conv2d",
            vec![x4(), filter()],
            vec![("filterLayout", v("iohw"))],
            "enumeration",
        ),
        (
            "convTranspose2d",
            vec![x4(), f(&[3, 2, 3, 3])],
            none(),
            "channels",
        ),
        (
            "convTranspose2d",
            vec![x4(), f(&[4, 2, 3, 3])],
            vec![("outputPadding", v([1, 0]))],
            "not less than the stride",
        ),
        (
            "convTranspose2d",
            vec![x4(), f(&[4, 2, 3, 3])],
            vec![("outputSizes", v([9, 7]))],
            "output size",
        ),
        (
            "convTranspose2d",
            vec![x4(), f(&[4, 2, 3, 3])],
            vec![("padding", v([9, 9, 0, 0]))],
            "valid dimension",
        ),
        // pools
        ("averagePool2d", vec![f(&[4])], none(), "rank"),
        ("averagePool2d", vec![of(Int32, &[1, 1, 2, 2])], none(), t),
        (
            "maxPool2d",
            vec![x4()],
            vec![("windowDimensions", v([0, 1]))],
            "have a 0",
        ),
        (
            "maxPool2d",
            vec![x4()],
            vec![("windowDimensions", v([6, 6]))],
            "valid dimension",
        ),
        (
            "l2Pool2d",
            vec![x4()],
            vec![("windowDimensions", v([1]))],
            "size is",
        ),
        (
            "maxPool2d",
            vec![x4()],
            vec![("outputSizes", v([2, 2]))],
            "outputSizes",
        ),
        (
            "maxPool2d",
            vec![x4()],
            vec![("outputShapeRounding", v("up"))],
            "enumeration",
        ),
        // normalizations
        (
            "batchNormalization",
            vec![x4(), f(&[3]), f(&[4])],
            none(),
            "shape",
        ),
        (
            "batchNormalization",
            vec![x4(), f(&[4]), f(&[3])],
            none(),
            "shape",
        ),
        (
            "batchNormalization",
            vec![x4(), of(Float16, &[4]), f(&[4])],
            none(),
            "is not equal",
        ),
        (
            "batchNormalization",
            vec![x4(), f(&[4]), f(&[4])],
            vec![("axis", n(4))],
            "rank",
        ),
        (
            "batchNormalization",
            vec![x4(), f(&[4]), f(&[4])],
            vec![("scale", f(&[1]))],
            "shape",
        ),
        ("instanceNormalization", vec![f(&[4])], none(), "rank"),
        (
            "instanceNormalization",
            vec![x4()],
            vec![("bias", f(&[5]))],
            "shape",
        ),
        (
            "layerNormalization",
            vec![x4()],
            vec![("axes", v([4]))],
            "rank",
        ),
        (
            "layerNormalization",
            vec![x4()],
            vec![("axes", v([1, 1]))],
            "twice",
        ),
        (
            "layerNormalization",
            vec![x4()],
            vec![("scale", f(&[4]))],
            "shape",
        ),
        // products
        ("matmul", vec![f(&[2]), f(&[2, 2])], none(), "less than 2"),
        ("matmul", vec![f(&[2, 3]), f(&[2, 3])], none(), "columns"),
        (
            "matmul",
            vec![f(&[2, 2, 3]), f(&[3, 3, 2])],
            none(),
            "broadcast",
        ),
        (
            "matmul",
            vec![of(Int32, &[2, 2]), of(Int32, &[2, 2])],
            none(),
            t,
        ),
        ("gemm", vec![f(&[2, 3]), f(&[2, 3])], none(), "columns"),
        (
            "gemm",
            vec![f(&[2, 3]), f(&[3, 2])],
            vec![("c", f(&[3]))],
            "broadcast",
        ),
        ("gemm", vec![f(&[2]), f(&[3, 2])], none(), "rank"),
        // quantization
        (
            "dequantizeLinear",
            vec![f(&[2]), f(&[2]), f(&[2])],
            none(),
            t,
        ),
        (
            "dequantizeLinear",
            vec![of(Int8, &[2]), f(&[2]), of(Uint8, &[2])],
            none(),
            "is not equal",
        ),
        (
            "dequantizeLinear",
            vec![of(Int8, &[2]), f(&[]), of(Int8, &[2])],
            none(),
            "rank",
        ),
        (
            "dequantizeLinear",
            vec![of(Int8, &[4]), f(&[3]), of(Int8, &[3])],
            none(),
            "blocks",
        ),
        (
            "quantizeLinear",
            vec![f(&[4]), of(Float16, &[4]), of(Int8, &[4])],
            none(),
            "is not equal",
        ),
        (
            "quantizeLinear",
            vec![f(&[4]), f(&[4]), of(Int64, &[4])],
            none(),
            t,
        ),
        (
            "quantizeLinear",
            vec![f(&[4]), f(&[2]), of(Int8, &[4])],
            none(),
            "shape",
        ),
        // resampling
        ("resample2d", vec![f(&[4])], none(), "rank"),
        ("resample2d", vec![of(Int32, &[1, 1, 2, 2])], none(), t),
        (
            "resample2d",
            vec![x4()],
            vec![("scales", v([0, 1]))],
            "above 0",
        ),
        (
            "resample2d",
            vec![x4()],
            vec![("scales", v([1]))],
            "size is",
        ),
        (
            "resample2d",
            vec![x4()],
            vec![("sizes", v([0, 1]))],
            "have a 0",
        ),
        ("resample2d", vec![x4()], vec![("axes", v([2, 2]))], "twice"),
        (
            "resample2d",
            vec![x4()],
            vec![("mode", v("cubic"))],
            "enumeration",
        ),
        (
            "resample2d",
            vec![x4()],
            vec![(
                "scales",
                v(Value::List(vec![Value::Number(0.1), Value::Number(1.0)])),
            )],
            "valid dimension",
        ),
        // recurrent networks: 2 steps, a batch of 1, 3 inputs, 2 hidden
        ("gru", gru(3, 2), none(), "steps"),
        ("gru", gru(2, 3), none(), "shape"),
        ("gru", gru(2, 2), vec![("bias", f(&[1, 5]))], "shape"),
        (
            "gru",
            gru(2, 2),
            vec![("initialHiddenState", f(&[2, 1, 2]))],
            "shape",
        ),
        (
            "gru",
            gru(2, 2),
            vec![("activations", v(Value::List(vec!["relu".into()])))],
            "size is",
        ),
        (
            "gru",
            gru(2, 2),
            vec![("direction", v("sideways"))],
            "enumeration",
        ),
        ("gru", gru(2, 2), vec![("layout", v("nrz"))], "enumeration"),
        ("lstm", gru(2, 2), none(), "shape"),
        (
            "lstm",
            vec![f(&[2, 1, 3]), f(&[1, 8, 3]), f(&[1, 8, 2]), n(0), n(2)],
            none(),
            "steps is 0",
        ),
        (
            "lstm",
            vec![f(&[2, 1, 3]), f(&[1, 8, 3]), f(&[1, 8, 2]), n(2), n(2)],
            vec![("peepholeWeight", f(&[1, 8]))],
            "shape",
        ),
        (
            "gruCell",
            vec![f(&[1, 3]), f(&[6, 3]), f(&[6, 2]), f(&[2, 2]), n(2)],
            none(),
            "shape",
        ),
        (
            "lstmCell",
            vec![
                f(&[1, 3]),
                f(&[8, 3]),
                f(&[8, 2]),
                f(&[1, 2]),
                f(&[1, 3]),
                n(2),
            ],
            none(),
            "shape",
        ),
    ]
}

//! Bytes that are no model: errors, whatever they are.

use fewbit_engine::tensor::DataType;
use fewbit_onnx::proto::GraphProto;
use fewbit_onnx::{imported_operators, interface, tensor_file};
use proptest::prelude::*;

use crate::files::{floats, int, integers, model, node, read, tensor, value};

/// Several operators, with everything that has a length.
fn file() -> Vec<u8> {
    model(
        13,
        GraphProto {
            node: vec![
                node("Reshape", &["x", "to"], &["r"], vec![]),
                node("Softmax", &["r"], &["s"], vec![int("axis", -1)]),
                node("Slice", &["s", "from", "until"], &["t"], vec![]),
                node("Split", &["t"], &["u", "v"], vec![int("axis", 1)]),
                node("MatMul", &["u", "w"], &["y"], vec![]),
            ],
            initializer: vec![
                tensor("to", &integers(&[2, -1])),
                tensor("from", &integers(&[0])),
                tensor("until", &integers(&[i64::MAX])),
                tensor("w", &floats(&[2, 3], &[0.5; 6])),
            ],
            input: vec![value("x", DataType::F32, &[8])],
            output: vec![value("y", DataType::F32, &[2, 3])],
            ..GraphProto::default()
        },
    )
}

#[test]
fn the_file_itself_is_right() {
    read(&file()).unwrap();
}

#[test]
fn a_file_that_ends_early_is_an_error() {
    let whole = file();
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "{end} bytes");
        let _ = interface(&whole[..end], "model.onnx");
    }
}

/// Sizes that a file only claims: every operator of the table over them ends, in little memory.
#[test]
fn claimed_sizes_end_in_a_graph_or_an_error() {
    const MOST: i64 = i64::MAX;
    let shapes: [&[i64]; 7] = [
        &[],
        &[0, MOST, MOST],
        &[MOST],
        &[MOST, MOST, MOST, MOST],
        &[1, 1 << 30, 1 << 10],
        &[1, 4, 1 << 20, 1 << 15],
        &[0, 0, 0, 0],
    ];
    for &op_type in imported_operators().keys() {
        for shape in shapes {
            for (extreme, inputs) in [(1, 1), (MOST, 2), (i64::MIN, 3), (-1, 4), (0, 8)] {
                let given = ["x", "i", "i", "x", "i", "i", "i", "x"];
                let names = [
                    "axis",
                    "blocksize",
                    "num_outputs",
                    "batch_dims",
                    "k",
                    "size",
                ];
                // Each of the attributes by itself, and none.
                for attribute in 0..=names.len() {
                    let attribute = names.get(attribute).map(|name| int(name, extreme));
                    let bytes = model(
                        25,
                        GraphProto {
                            node: vec![node(
                                op_type,
                                &given[..inputs],
                                &["y"],
                                Vec::from_iter(attribute),
                            )],
                            initializer: vec![tensor(
                                "i",
                                &integers(&[extreme, 0, -extreme.max(-MOST)]),
                            )],
                            input: vec![value("x", DataType::F32, shape)],
                            output: vec![value("y", DataType::F32, &[2, 3])],
                            ..GraphProto::default()
                        },
                    );
                    let _ = read(&bytes);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn garbled_files_end_in_a_graph_or_an_error(
        at in 0usize..10_000, byte: u8, second in 0usize..10_000, other: u8,
    ) {
        let mut bytes = file();
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes[second % length] ^= other;
        let _ = read(&bytes);
    }

    #[test]
    fn any_bytes_end_in_an_error_or_what_they_say(bytes: Vec<u8>) {
        let _ = read(&bytes);
        let _ = tensor_file(&bytes, "input_0.pb");
    }
}

//! Where weights are: in the model's file, beside it, or wrongly told.

use std::rc::Rc;

use fewbit_engine::source::{ByteSource, MemorySource};
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_engine::tensor::{DataType, Tensor};
use fewbit_onnx::proto::{
    AttributeProto, AttributeType, GraphProto, NodeProto, StringStringEntryProto, TensorProto,
};
use fewbit_onnx::{ImportError, ImportOptions, Imported, OnnxFile};

use crate::files::{compute, floats, integers, model, node, read, tensor, value, weights};

/// Larger than what is a constant of the graph.
const ROWS: usize = 64;
const COLUMNS: usize = 32;

fn matrix() -> Tensor {
    let numbers: Vec<f32> = (0..ROWS * COLUMNS).map(|n| n as f32 * 0.25).collect();
    floats(&[ROWS, COLUMNS], &numbers)
}

/// `x · w`, with `w` as an initializer or made by a node.
fn product(initializer: Vec<TensorProto>, first: Vec<NodeProto>) -> Vec<u8> {
    let mut nodes = first;
    nodes.push(node("MatMul", &["x", "w"], &["y"], vec![]));
    model(
        13,
        GraphProto {
            node: nodes,
            initializer,
            input: vec![value("x", DataType::F32, &[1, ROWS as i64])],
            output: vec![value("y", DataType::F32, &[1, COLUMNS as i64])],
            ..GraphProto::default()
        },
    )
}

fn open(files: Vec<(&str, Vec<u8>)>) -> Result<Imported, ImportError> {
    let name = files[0].0;
    let files = files.iter().map(|(name, bytes)| -> Rc<dyn ByteSource> {
        Rc::new(MemorySource::new(*name, bytes.clone()))
    });
    let files = ModelFiles::new(files.collect());
    pollster::block_on(async {
        let file = OnnxFile::open(&files, name).await?;
        file.import(&ImportOptions::default()).await
    })
}

fn check(imported: &Imported) {
    let mut ones = vec![0.0; ROWS];
    ones[3] = 1.0;
    let y = compute(imported, &[("x", &floats(&[1, ROWS], &ones))]);
    let row = &matrix().as_f32().unwrap()[3 * COLUMNS..4 * COLUMNS].to_vec();
    assert_eq!(y["y"].as_f32().unwrap(), row.as_slice());
}

fn at(name: &str, entries: &[(&str, String)]) -> TensorProto {
    let entry = |(key, value): &(&str, String)| StringStringEntryProto {
        key: Some((*key).into()),
        value: Some(value.clone()),
    };
    TensorProto {
        raw_data: None,
        data_location: Some(1),
        external_data: entries.iter().map(entry).collect(),
        ..tensor(name, &matrix())
    }
}

#[test]
fn a_large_initializer_stays_in_the_file() {
    let bytes = product(vec![tensor("w", &matrix())], vec![]);
    let imported = read(&bytes).unwrap();
    let entry = &imported.source.checkpoint.tensors["w"];
    let range = entry.offset as usize..(entry.offset + entry.bytes) as usize;
    assert_eq!(entry.file, 0);
    assert_eq!(&bytes[range], matrix().bytes());
    check(&imported);
}

#[test]
fn packed_floats_stay_in_the_file_and_a_constant_node_is_a_weight() {
    let packed = TensorProto {
        raw_data: None,
        float_data: matrix().as_f32().unwrap().to_vec(),
        ..tensor("w", &matrix())
    };
    let imported = read(&product(vec![packed], vec![])).unwrap();
    assert_eq!(imported.source.checkpoint.tensors["w"].file, 0);
    check(&imported);

    let constant = AttributeProto {
        name: Some("value".into()),
        r#type: Some(AttributeType::Tensor.into()),
        t: Some(tensor("", &matrix())),
        ..AttributeProto::default()
    };
    let constant = node("Constant", &[], &["w"], vec![constant]);
    let imported = read(&product(vec![], vec![constant])).unwrap();
    assert_eq!(imported.source.checkpoint.tensors["w"].file, 0);
    check(&imported);
}

#[test]
fn numbers_of_other_types_are_read_once() {
    let numbers: Vec<i32> = (0..(ROWS * COLUMNS) as i32).map(|n| n % 100).collect();
    let small = TensorProto {
        data_type: Some(3),
        raw_data: None,
        int32_data: numbers.clone(),
        dims: vec![ROWS as i64, COLUMNS as i64],
        name: Some("q".into()),
        ..TensorProto::default()
    };
    let mut big = small.clone();
    big.dims = vec![4 * ROWS as i64, COLUMNS as i64];
    big.int32_data = numbers.repeat(4);
    let bytes = model(
        13,
        GraphProto {
            node: vec![node("Add", &["x", "q"], &["y"], vec![])],
            initializer: vec![big],
            input: vec![value("x", DataType::I8, &[1])],
            output: vec![value("y", DataType::I8, &[256, 32])],
            ..GraphProto::default()
        },
    );
    let imported = read(&bytes).unwrap();
    let held = &weights(&imported)["q"];
    assert_eq!(held.bytes()[..3], [0, 1, 2]);
    assert_eq!(held.elements(), 4 * ROWS * COLUMNS);
}

/// The shape is in the file, too large to be a constant: it is read when it is needed.
#[test]
fn a_weight_that_decides_a_shape_is_read() {
    let to = Tensor::from_i64(&[2, 300], &[1i64; 600]).unwrap();
    let shape = [int_list("to", &to)];
    let nodes = vec![
        node("Slice", &["to", "from", "until"], &["row"], vec![]),
        node("Reshape", &["row", "flat"], &["list"], vec![]),
        node("Gather", &["list", "one"], &["n"], vec![]),
        node("Expand", &["x", "n"], &["y"], vec![]),
    ];
    let bytes = model(
        13,
        GraphProto {
            node: nodes,
            initializer: [
                shape.to_vec(),
                vec![
                    tensor("from", &integers(&[1])),
                    tensor("until", &integers(&[2])),
                    tensor("flat", &integers(&[-1])),
                    tensor("one", &integers(&[1])),
                ],
            ]
            .concat(),
            input: vec![value("x", DataType::F32, &[4])],
            output: vec![value("y", DataType::F32, &[4])],
            ..GraphProto::default()
        },
    );
    let error = read(&bytes).err().map(|e| e.to_string());
    // A slice of a weight is computed in a run, unless the weight itself is asked for.
    assert!(error.is_some_and(|e| e.contains("Expand")));
    let bytes = model(
        13,
        GraphProto {
            node: vec![node("ConstantOfShape", &["to"], &["y"], vec![])],
            initializer: vec![int_list(
                "to",
                &Tensor::from_i64(&[600], &[1; 600]).unwrap(),
            )],
            input: vec![value("x", DataType::F32, &[4])],
            output: vec![value("y", DataType::F32, &[1])],
            ..GraphProto::default()
        },
    );
    // `x`, and the one number that comes out.
    assert_eq!(read(&bytes).unwrap().graph.values.len(), 2);
}

fn int_list(name: &str, list: &Tensor) -> TensorProto {
    tensor(name, list)
}

#[test]
fn elements_in_a_file_beside_the_model() {
    let place = [
        ("location", "w.bin".to_owned()),
        ("offset", "16".to_owned()),
        ("length", (ROWS * COLUMNS * 4).to_string()),
    ];
    let bytes = product(vec![at("w", &place)], vec![]);
    let beside = [vec![7; 16], matrix().bytes().to_vec()].concat();
    let files = vec![
        ("onnx/model.onnx", bytes.clone()),
        ("w.bin", vec![0; 4]),
        ("onnx/w.bin", beside.clone()),
    ];
    let imported = open(files).unwrap();
    let entry = &imported.source.checkpoint.tensors["w"];
    assert_eq!(imported.source.files[entry.file].name(), "onnx/w.bin");
    check(&imported);

    // Without a length it is what the shape asks for.
    let short = product(vec![at("w", &place[..2])], vec![]);
    check(&open(vec![("m.onnx", short), ("w.bin", beside.clone())]).unwrap());

    let missing = open(vec![("onnx/model.onnx", bytes.clone())]).unwrap_err();
    assert!(missing.to_string().contains("onnx/w.bin"), "{missing}");
    let cut = beside[..100].to_vec();
    let cut = open(vec![("onnx/model.onnx", bytes), ("onnx/w.bin", cut)]);
    assert!(cut.unwrap_err().to_string().contains("which has 100"));
}

#[test]
fn names_that_leave_the_folder_and_ranges_that_are_wrong() {
    let all = (ROWS * COLUMNS * 4).to_string();
    for (location, offset, length) in [
        ("../w.bin", "0", all.as_str()),
        ("/w.bin", "0", &all),
        ("a/../../w.bin", "0", &all),
        ("a\\w.bin", "0", &all),
        ("C:w.bin", "0", &all),
        ("w.bin", "-1", &all),
        ("w.bin", "1", &all),
        ("w.bin", "18446744073709551615", &all),
        ("w.bin", "0", "18446744073709551615"),
        ("w.bin", "0", "8188"),
        ("w.bin", "zero", &all),
        ("", "0", "99999999"),
    ] {
        let place = [
            ("location", location.to_owned()),
            ("offset", offset.to_owned()),
            ("length", length.to_owned()),
        ];
        let bytes = product(vec![at("w", &place)], vec![]);
        let beside = matrix().bytes().to_vec();
        let result = open(vec![("m.onnx", bytes), ("w.bin", beside)]);
        match result.unwrap_err() {
            ImportError::Tensor { tensor, .. } => assert_eq!(tensor, "w", "{location}"),
            other => panic!("{location}: {other}"),
        }
    }
    let both = TensorProto {
        raw_data: Some(matrix().bytes().to_vec()),
        ..at("w", &[("location", "w.bin".to_owned())])
    };
    let both = open(vec![
        ("m.onnx", product(vec![both], vec![])),
        ("w.bin", vec![0; 9000]),
    ]);
    assert!(both.is_err());
}

/// A claim of more than the file has, at every level.
#[test]
fn claims_beyond_the_file_are_errors() {
    let mut long = tensor("w", &matrix());
    long.dims = vec![1 << 40, 1 << 20];
    let error = read(&product(vec![long], vec![])).unwrap_err();
    assert!(error.to_string().contains("tensor w"), "{error}");
    // A node of 2^60 bytes, in a graph of as many.
    let huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];
    for head in [
        &[0x3a][..],
        &[0x3a, 0x0b, 0x0a],
        &[0x3a, 0x0c, 0x2a, 0x0a, 0x4a],
    ] {
        let bytes = [head, &huge].concat();
        assert!(read(&bytes).is_err());
    }
    // A million empty nodes in two megabytes.
    let nodes = [0x0a, 0x00].repeat(1 << 20);
    let mut bytes = vec![0x3a];
    prost::encoding::encode_varint(nodes.len() as u64, &mut bytes);
    bytes.extend(nodes);
    let error = read(&bytes).unwrap_err().to_string();
    assert!(error.contains("messages"), "{error}");
    // Graphs in graphs.
    let mut inner = vec![];
    for _ in 0..2000 {
        for key in [0x32, 0x2a, 0x0a] {
            let mut outer = vec![key];
            prost::encoding::encode_varint(inner.len() as u64, &mut outer);
            outer.extend(&inner);
            inner = outer;
        }
    }
    let mut bytes = vec![0x3a];
    prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
    bytes.extend(inner);
    let error = read(&bytes).unwrap_err().to_string();
    assert!(error.contains("deep"), "{error}");
}

//! Files whose inputs decide shapes, run again and again: what comes again is not compiled again, and what is kept is bounded.

use std::collections::BTreeMap;
use std::rc::Rc;

use fewbit_engine::backend::NumericPolicy;
use fewbit_engine::backend::cpu::kernels::Kernels;
use fewbit_engine::backend::cpu::threads::Serial;
use fewbit_engine::backend::cpu::{CpuDevice, CpuOptions};
use fewbit_engine::source::{ByteSource, MemorySource};
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_engine::tensor::{DataType, Tensor};
use fewbit_onnx::proto::GraphProto;
use fewbit_onnx::{MOST_VARIANTS, OnnxFile, OnnxSession};

use crate::files::{floats, integers, model, node, tensor, value};

const COLUMNS: usize = 48;

fn weight(seed: usize) -> Tensor {
    let numbers: Vec<f32> = (0..COLUMNS * COLUMNS)
        .map(|n| ((n * 31 + seed) % 17) as f32 - 8.0)
        .collect();
    floats(&[COLUMNS, COLUMNS], &numbers)
}

/// `y = Reshape(x · w, to)`, and `z`, as many numbers as `count` says.
fn file() -> Vec<u8> {
    model(
        13,
        GraphProto {
            node: vec![
                node("MatMul", &["x", "w"], &["product"], vec![]),
                node("Reshape", &["product", "to"], &["y"], vec![]),
                node("Range", &["zero", "count", "one"], &["z"], vec![]),
            ],
            initializer: vec![
                tensor("w", &weight(3)),
                tensor("zero", &Tensor::from_i64(&[], &[0]).unwrap()),
                tensor("one", &Tensor::from_i64(&[], &[1]).unwrap()),
            ],
            input: vec![
                value("x", DataType::F32, &[-1, COLUMNS as i64]),
                value("to", DataType::I64, &[2]),
                value("count", DataType::I64, &[]),
            ],
            output: vec![
                value("y", DataType::F32, &[-1, -1]),
                value("z", DataType::I64, &[-1]),
            ],
            ..GraphProto::default()
        },
    )
}

type Named = BTreeMap<String, Tensor>;

fn inputs(rows: usize, to: [i64; 2], count: i64) -> Named {
    let numbers: Vec<f32> = (0..rows * COLUMNS).map(|n| (n % 7) as f32 - 3.0).collect();
    Named::from([
        ("x".to_owned(), floats(&[rows, COLUMNS], &numbers)),
        ("to".to_owned(), integers(&to)),
        ("count".to_owned(), Tensor::from_i64(&[], &[count]).unwrap()),
    ])
}

fn open(inputs: &Named) -> OnnxSession {
    let source: Rc<dyn ByteSource> = Rc::new(MemorySource::new("m.onnx", file()));
    let files = ModelFiles::new(vec![source]);
    let device = CpuDevice::new(CpuOptions {
        policy: NumericPolicy::default(),
        kernels: Kernels::best(),
        parallel: Rc::new(Serial),
    });
    pollster::block_on(async {
        let file = OnnxFile::open(&files, "m.onnx").await.unwrap();
        OnnxSession::open(Box::new(device), file, inputs)
            .await
            .unwrap()
    })
}

/// Runs, and holds the numbers against the product as it is.
fn run(session: &mut OnnxSession, inputs: &Named) {
    let outputs = pollster::block_on(session.run(inputs, &["y", "z"])).unwrap();
    let to = inputs["to"].to_f64_vec();
    let count = inputs["count"].to_f64_vec()[0] as usize;
    let shape = [to[0] as usize, to[1] as usize];
    assert_eq!(outputs[0].shape(), shape);
    let counted: Vec<f64> = (0..count).map(|n| n as f64).collect();
    assert_eq!(outputs[1].to_f64_vec(), counted);
    let (x, w) = (inputs["x"].to_f64_vec(), weight(3).to_f64_vec());
    let got = outputs[0].to_f64_vec();
    for (at, got) in got.iter().enumerate() {
        let (row, column) = (at / COLUMNS, at % COLUMNS);
        let sum: f64 = (0..COLUMNS)
            .map(|k| x[row * COLUMNS + k] * w[k * COLUMNS + column])
            .sum();
        assert!((got - sum).abs() < 1e-3, "{at}: {got}, not {sum}");
    }
}

#[test]
fn what_comes_again_is_compiled_once() {
    let columns = COLUMNS as i64;
    let all = [
        inputs(2, [2, columns], 3),
        inputs(2, [columns, 2], 3),
        inputs(2, [1, 2 * columns], 5),
    ];
    let mut session = open(&all[0]);
    let weights = session.session().memory().weights;
    for _ in 0..20 {
        for inputs in &all {
            run(&mut session, inputs);
        }
    }
    assert_eq!(
        (session.imports(), session.session().compilations()),
        (3, 3)
    );
    // One copy of the weight, and of the same laid out for products.
    assert_eq!(session.session().memory().weights, weights);

    // Other sizes that no shape was decided by are another plan, not another import.
    run(&mut session, &inputs(1, [1, columns], 3));
    let before = (session.imports(), session.session().compilations());
    for _ in 0..5 {
        run(&mut session, &inputs(1, [1, columns], 3));
    }
    assert_eq!(
        (session.imports(), session.session().compilations()),
        before
    );
}

#[test]
fn what_is_kept_is_bounded_and_the_oldest_goes() {
    let columns = COLUMNS as i64;
    let of = |count: i64| inputs(2, [2, columns], count);
    let mut session = open(&of(0));
    let memory = session.session().memory().weights;
    for count in 0..50 {
        run(&mut session, &of(count));
        assert!(session.variants() <= MOST_VARIANTS);
    }
    assert_eq!(session.session().compilations(), 50);
    assert_eq!(session.session().memory().weights, memory);
    // The last ones are there, the first is not.
    for count in (50 - MOST_VARIANTS as i64..50).rev() {
        run(&mut session, &of(count));
    }
    assert_eq!(session.session().compilations(), 50);
    run(&mut session, &of(0));
    assert_eq!(session.session().compilations(), 51);
    // For which that of 49 went, which had been used before all others.
    run(&mut session, &of(49));
    assert_eq!(session.session().compilations(), 52);
}

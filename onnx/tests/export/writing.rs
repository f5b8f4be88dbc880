//! Writing as it goes: weights of many chunks, what stops it, and what is too large for one file.

use std::io::{self, Write};
use std::ops::ControlFlow;

use fewbit_engine::graph::{Dim, Graph, GraphBuilder};
use fewbit_engine::session::UploadProgress;
use fewbit_engine::tensor::{DataType, ElementType};
use fewbit_onnx::{ExportError, ExternalData, prepare};

use crate::checkpoint;
use crate::interpreter::read;

/// `x [n, columns]` by `w [rows, columns]`
fn product(rows: usize, columns: usize, element: ElementType) -> Graph {
    let mut b = GraphBuilder::new();
    let shape = vec![Dim::symbol("n"), Dim::from(columns)];
    let x = b.input("x", DataType::F32, shape).unwrap();
    let w = b.weight("w", element, &[rows, columns]).unwrap();
    let y = b.block_matmul(x, w, None).unwrap();
    b.output("y", y).unwrap();
    b.finish()
}

/// 16-bit weights of more bytes than are decoded at a time.
fn many() -> (Graph, Vec<u8>) {
    let (rows, columns) = (5_000, 1_001);
    let bytes = (0..rows * columns)
        .flat_map(|at| half::f16::from_f32((at % 2_039) as f32).to_le_bytes())
        .collect();
    (product(rows, columns, DataType::F16.into()), bytes)
}

#[test]
fn a_weight_of_several_chunks_is_whole() {
    let (graph, bytes) = many();
    let source = checkpoint(&[("w", DataType::F16.into(), &[5_000, 1_001], bytes)]);
    let mut steps = Vec::new();
    let mut on_progress = |progress: UploadProgress| {
        steps.push(progress);
        ControlFlow::Continue(())
    };
    let (mut out, mut beside) = (Vec::new(), Vec::new());
    let external = ExternalData {
        name: "weights",
        out: &mut beside,
    };
    let prepared = prepare(&graph).unwrap();
    let written = prepared.write(&source, &mut out, Some(external), &mut on_progress);
    pollster::block_on(written).unwrap();
    assert!(steps.len() > 1, "{steps:?}");
    assert_eq!(
        steps.last().map(|step| step.done),
        Some(beside.len() as u64)
    );
    let weight = &read(&out).initializer[0];
    assert_eq!((weight.data_location, &weight.raw_data), (Some(1), &None));
    let inside = pollster::block_on(fewbit_onnx::export(&graph, &source)).unwrap();
    let inside = read(&inside).initializer[0].raw_data.clone().unwrap();
    assert!(inside == beside);
    let values = inside.as_chunks::<4>().0.iter().enumerate();
    for (at, value) in values {
        assert_eq!(f32::from_le_bytes(*value), (at % 2_039) as f32, "{at}");
    }
}

/// Takes so many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.checked_sub(bytes.len()) {
            Some(left) => {
                self.0 = left;
                Ok(bytes.len())
            }
            None => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_failed_write_and_an_abort_are_errors() {
    let (graph, bytes) = many();
    let source = checkpoint(&[("w", DataType::F16.into(), &[5_000, 1_001], bytes)]);
    let prepared = prepare(&graph).unwrap();
    for room in [0, 100, 10_000_000] {
        let mut go_on = |_| ControlFlow::Continue(());
        let mut out = Full(room);
        let written = prepared.write(&source, &mut out, None, &mut go_on);
        let error = pollster::block_on(written).unwrap_err();
        assert!(
            matches!(&error, ExportError::Write(e) if e.kind() == io::ErrorKind::StorageFull),
            "{error}"
        );
    }
    let mut stop = |_| ControlFlow::Break(());
    let mut out = Vec::new();
    let written = prepared.write(&source, &mut out, None, &mut stop);
    assert!(matches!(
        pollster::block_on(written),
        Err(ExportError::Aborted)
    ));
}

#[test]
fn another_checkpoint_than_the_graphs_is_refused() {
    let graph = product(3, 4, ElementType::F32);
    let source = checkpoint(&[("w", ElementType::F32, &[2, 4], vec![0; 32])]);
    let error = pollster::block_on(fewbit_onnx::export(&graph, &source)).unwrap_err();
    assert!(
        matches!(&error, ExportError::WeightShape { name, .. } if name == "w"),
        "{error}"
    );
}

/// Nothing of it is read: only its shape is known.
#[test]
fn more_than_one_file_holds_needs_another_beside_it() {
    let graph = product(1 << 15, 1 << 15, ElementType::F32);
    let prepared = prepare(&graph).unwrap();
    assert_eq!(prepared.weight_bytes(), 4 << 30);
    assert!(prepared.needs_external_data());
    assert!(
        !prepare(&product(1 << 14, 1 << 14, ElementType::F32))
            .unwrap()
            .needs_external_data()
    );
    let mut go_on = |_| ControlFlow::Continue(());
    let mut out = Vec::new();
    let nothing = checkpoint(&[]);
    let written = prepared.write(&nothing, &mut out, None, &mut go_on);
    let error = pollster::block_on(written).unwrap_err();
    assert!(
        matches!(error, ExportError::TooLarge(bytes) if bytes == 4 << 30),
        "{error}"
    );
    assert!(out.is_empty());
}

//! What was made bytes comes back, and bytes that are not so are errors.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::backend::suite;
use crate::graph::op::{Binary, Compare, Pad, PadMode, Reduce, ReduceKind, Slice, Unary, Window};
use crate::graph::pass::fuse_elementwise;
use crate::tensor::DataType;

fn same(a: &Graph, b: &Graph) {
    // Tensors tell no more than their shapes; their bytes are compared below.
    assert_eq!(format!("{a:?}"), format!("{b:?}"));
    for (a, b) in a.values.iter().zip(&b.values) {
        if let (Source::Constant(a), Source::Constant(b)) = (&a.source, &b.source) {
            assert_eq!(a, b);
        }
    }
}

fn there_and_back(graph: &Graph) -> Vec<u8> {
    let bytes = encode(graph).unwrap();
    same(&decode(&bytes).unwrap(), graph);
    bytes
}

/// Graphs of all operators, and of chains fused.
fn graphs() -> Vec<Graph> {
    let cases = suite::cases();
    let mut graphs: Vec<Graph> = cases.iter().map(|case| case.graph().clone()).collect();
    let fused = graphs.iter().map(|graph| fuse_elementwise(graph).unwrap());
    let fused: Vec<Graph> = fused.collect();
    graphs.extend(fused);
    graphs
}

#[test]
fn every_operator_comes_back() {
    let mut seen = BTreeSet::new();
    for graph in graphs() {
        there_and_back(&graph);
        for node in &graph.nodes {
            let mut out = Writer::default();
            node.op.write(&mut out);
            seen.insert(out.finish().unwrap()[0]);
        }
    }
    let known = (0..=255u8).filter(|&number| {
        let read = Reader::new(&[number]).run(Op::read);
        !matches!(read, Err(WireError::Malformed { what: "no Op", .. }))
    });
    assert_eq!(
        seen,
        known.collect(),
        "the suite has a case of each operator"
    );
}

#[test]
fn bytes_that_end_or_go_on_are_errors() {
    let all = graphs();
    let graph = all.iter().max_by_key(|graph| graph.nodes.len()).unwrap();
    let bytes = encode(graph).unwrap();
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length]).is_err(), "{length}");
    }
    let mut more = bytes.clone();
    more.push(0);
    assert!(matches!(decode(&more), Err(WireError::Malformed { .. })));
    let mut other = bytes;
    other[3] += 1;
    assert!(matches!(decode(&other), Err(WireError::Version)));
}

#[test]
fn a_graph_that_no_builder_made_is_refused() {
    let mut b = GraphBuilder::new();
    let x = b.input("x", DataType::F32, vec![Dim::from(2)]).unwrap();
    let y = b.unary(Unary::Abs, x).unwrap();
    b.output("y", y).unwrap();
    let mut graph = b.finish();
    graph.inputs.clear();
    let refused = encode(&graph);
    assert!(matches!(refused, Err(WireError::NotBuilt { value: 0 })));
}

#[test]
fn few_bytes_make_no_large_graph() {
    // 2¹⁷ values claimed in some bytes.
    let mut claim = MAGIC.to_vec();
    (1usize << 17).write_to(&mut claim);
    assert!(decode(&claim).is_err());
    // An input of many symbols, which every node after it copies.
    let mut b = GraphBuilder::new();
    let shape = (0..32).map(|i| Dim::symbol("s") * i64::from(i + 1) + Dim::symbol("t"));
    let mut x = b.input("x", DataType::F32, shape.collect()).unwrap();
    for _ in 0..20_000 {
        x = b.unary(Unary::Abs, x).unwrap();
    }
    let bytes = encode(&b.finish()).unwrap();
    let refused = decode(&bytes);
    assert!(matches!(refused, Err(WireError::Malformed { what, .. }) if what.contains("terms")));
}

trait WriteTo {
    fn write_to(&self, bytes: &mut Vec<u8>);
}

impl WriteTo for usize {
    fn write_to(&self, bytes: &mut Vec<u8>) {
        let mut out = Writer::default();
        self.write(&mut out);
        bytes.extend(out.finish().unwrap());
    }
}

fn dim() -> impl Strategy<Value = Dim> {
    let leaf = prop_oneof![
        (0usize..7).prop_map(Dim::from),
        prop_oneof!["batch", "tokens", "h"].prop_map(|name| Dim::symbol(&name)),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a + b),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a * b),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a - b),
            (inner.clone(), -3i64..9).prop_map(|(a, by)| a * by),
            (inner, 1usize..5).prop_map(|(a, by)| a.floor_div(by).unwrap()),
        ]
    })
}

fn op() -> impl Strategy<Value = Op> {
    let window =
        (any::<[u8; 4]>(), 1usize..3, 1usize..3).prop_map(|(padding, stride, dilation)| Window {
            padding: padding.map(|p| usize::from(p % 4)),
            strides: [stride, 1],
            dilations: [1, dilation],
        });
    prop_oneof![
        proptest::sample::select(Unary::ALL.to_vec()).prop_map(Op::Unary),
        proptest::sample::select(Binary::ALL.to_vec()).prop_map(Op::Binary),
        proptest::sample::select(Compare::ALL.to_vec()).prop_map(Op::Compare),
        (any::<f32>(), any::<f32>()).prop_map(|(min, max)| Op::Clamp { min, max }),
        proptest::sample::select(DataType::ALL.to_vec()).prop_map(|to| Op::Cast { to }),
        (0usize..3, any::<bool>()).prop_map(|(axis, keep_dimensions)| {
            Op::Reduce(Reduce {
                kind: ReduceKind::Mean,
                axes: vec![axis],
                keep_dimensions,
            })
        }),
        (0usize..3).prop_map(|axis| Op::Concat { axis }),
        (0usize..3).prop_map(|axis| Op::Gather {
            axis,
            decode: false
        }),
        proptest::collection::vec(dim(), 0..4).prop_map(|shape| Op::Reshape { shape }),
        proptest::collection::vec(dim(), 0..4).prop_map(|shape| Op::Expand { shape }),
        (dim(), dim()).prop_map(|(start, size)| Op::Slice(Slice {
            starts: vec![start],
            sizes: vec![size],
            strides: vec![1]
        })),
        (0usize..9, any::<f32>()).prop_map(|(count, number)| Op::Pad(Pad {
            before: vec![count],
            after: vec![0],
            mode: PadMode::Constant(number)
        })),
        window.prop_map(|window| Op::Pool2d(crate::graph::op::Pool2d {
            kind: crate::graph::op::PoolKind::Max,
            size: [2, 2],
            window
        })),
        Just(Op::Matmul),
        Just(Op::Where),
    ]
}

fn graph() -> impl Strategy<Value = Graph> {
    let inputs = proptest::collection::vec(proptest::collection::vec(dim(), 0..4), 1..4);
    let nodes = proptest::collection::vec((op(), any::<[u16; 3]>(), 1usize..4), 0..40);
    (inputs, nodes).prop_map(|(inputs, nodes)| {
        let mut b = GraphBuilder::new();
        let mut values = Vec::new();
        for (number, shape) in inputs.into_iter().enumerate() {
            values.push(
                b.input(&format!("in{number}"), DataType::F32, shape)
                    .unwrap(),
            );
        }
        values.push(b.weight("w", DataType::I32.into(), &[2, 3]).unwrap());
        values.push(b.number(0.5).unwrap());
        for (op, picks, count) in nodes {
            let picked: Vec<ValueId> = picks[..count]
                .iter()
                .map(|&pick| values[usize::from(pick) % values.len()])
                .collect();
            // What does not go together is left out.
            values.extend(b.op(op, &picked));
        }
        b.output("last", values[values.len() - 1]).unwrap();
        b.finish()
    })
}

proptest! {
    #[test]
    fn random_graphs_come_back(graph in graph()) {
        there_and_back(&graph);
    }

    #[test]
    fn changed_bytes_are_a_graph_or_an_error(
        graph in graph(),
        changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = encode(&graph).unwrap();
        for (at, byte) in changes {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(graph) = decode(&bytes) {
            // What came out is a graph like any other.
            there_and_back(&graph);
        }
    }

    #[test]
    fn changed_operators_are_a_graph_or_an_error(
        which in any::<u16>(), at in any::<u16>(), bit in 0u8..8,
    ) {
        let graphs = ALL.get_or_init(|| graphs().iter().map(|graph| encode(graph).unwrap()).collect());
        let mut bytes = graphs[usize::from(which) % graphs.len()].clone();
        let at = 4 + usize::from(at) % (bytes.len() - 4);
        bytes[at] ^= 1 << bit;
        let _ = decode(&bytes);
    }

    #[test]
    fn any_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut whole = MAGIC.to_vec();
        whole.extend(bytes);
        let _ = decode(&whole);
    }
}

static ALL: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();

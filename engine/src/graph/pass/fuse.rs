//! Joins chains of element-wise f32 operators into one node, so that an intermediate result never
//! goes through memory.

use crate::graph::op::{Fused, Op, Operand, Step};
use crate::graph::{Graph, GraphError, Source, ValueId, fixed_shape};
use crate::tensor::ElementType;

use super::{Rewriter, prune};

/// Storage bindings and registers are few; a longer chain is cut.
const MAX_INPUTS: usize = 6;
const MAX_STEPS: usize = 16;

/// A node's chain so far, in terms of old values.
#[derive(Clone)]
struct Chain {
    inputs: Vec<ValueId>,
    steps: Vec<Step>,
}

/// Fuses element-wise nodes into the one that uses them, where that is their only use and the shapes
/// are the same. Chains of one node stay as they are.
pub fn fuse_elementwise(graph: &Graph) -> Result<Graph, GraphError> {
    let uses = count_uses(graph);
    let mut chains: Vec<Option<Chain>> = vec![None; graph.values.len()];
    let mut absorbed = vec![false; graph.nodes.len()];
    for node in &graph.nodes {
        let output = node.outputs[0];
        let Some(mut chain) = single(graph, &node.op, &node.inputs, output) else {
            continue;
        };
        let mut taken = Vec::new();
        // Absorb producers one by one; each becomes a run of steps before this node's own.
        let mut at = 0;
        while at < chain.inputs.len() {
            let input = chain.inputs[at];
            let fits =
                uses[input.index()] == 1 && graph.value(input).shape == graph.value(output).shape;
            match (fits, &chains[input.index()], graph.producer(input)) {
                (true, Some(inner), Some(producer)) => match join(&chain, at, inner) {
                    Some(joined) => {
                        chain = joined;
                        taken.push(producer);
                    }
                    None => at += 1,
                },
                _ => at += 1,
            }
        }
        for producer in taken {
            absorbed[producer.index()] = true;
        }
        chains[output.index()] = Some(chain);
    }
    let mut rewriter = Rewriter::new(graph)?;
    for (i, node) in graph.nodes.iter().enumerate() {
        if absorbed[i] {
            continue;
        }
        match &chains[node.outputs[0].index()] {
            Some(chain) if chain.steps.len() > 1 => {
                let inputs = rewriter.get_all(&chain.inputs)?;
                let op = Op::Fused(Fused {
                    steps: chain.steps.clone(),
                });
                let new = rewriter.builder().op(op, &inputs)?;
                rewriter.replace(node.outputs[0], new);
            }
            _ => rewriter.copy(node)?,
        }
    }
    Ok(prune(&rewriter.finish()?))
}

fn count_uses(graph: &Graph) -> Vec<usize> {
    let mut uses = vec![0; graph.values.len()];
    for node in &graph.nodes {
        for id in &node.inputs {
            uses[id.index()] += 1;
        }
    }
    for (_, id) in &graph.outputs {
        uses[id.index()] += 1;
    }
    uses
}

/// A chain of one step for an element-wise f32 node.
fn single(graph: &Graph, op: &Op, inputs: &[ValueId], output: ValueId) -> Option<Chain> {
    let float = |id: &ValueId| graph.value(*id).element == ElementType::F32;
    if !float(&output)
        || !inputs.iter().all(float)
        || fixed_shape(&graph.value(output).shape).is_none()
    {
        return None;
    }
    let mut chain = Chain {
        inputs: Vec::new(),
        steps: Vec::new(),
    };
    let mut operand = |id: ValueId| match &graph.value(id).source {
        Source::Constant(tensor) if tensor.elements() == 1 => {
            Some(Operand::Number(tensor.as_f32().ok()?[0]))
        }
        _ => Some(Operand::Input(
            match chain.inputs.iter().position(|&i| i == id) {
                Some(at) => at,
                None => {
                    chain.inputs.push(id);
                    chain.inputs.len() - 1
                }
            },
        )),
    };
    let step = match op {
        Op::Unary(unary) => Step::Unary(*unary, operand(inputs[0])?),
        Op::Binary(binary) => Step::Binary(*binary, operand(inputs[0])?, operand(inputs[1])?),
        Op::Clamp { min, max } => Step::Clamp(operand(inputs[0])?, *min, *max),
        _ => return None,
    };
    if chain.inputs.is_empty() {
        return None;
    }
    chain.steps.push(step);
    Some(chain)
}

/// `outer` with its input number `at` computed by `inner`'s steps, if that stays within the limits.
fn join(outer: &Chain, at: usize, inner: &Chain) -> Option<Chain> {
    let mut inputs: Vec<ValueId> = outer.inputs.clone();
    inputs.remove(at);
    let mut place = |id: ValueId| match inputs.iter().position(|&i| i == id) {
        Some(found) => found,
        None => {
            inputs.push(id);
            inputs.len() - 1
        }
    };
    let inner_inputs: Vec<usize> = inner.inputs.iter().map(|&id| place(id)).collect();
    let shift = inner.steps.len();
    let mut steps: Vec<Step> = inner
        .steps
        .iter()
        .map(|step| {
            map_operands(step, |o| match o {
                Operand::Input(i) => Operand::Input(inner_inputs[i]),
                other => other,
            })
        })
        .collect();
    steps.extend(outer.steps.iter().map(|step| {
        map_operands(step, |o| match o {
            Operand::Input(i) if i == at => Operand::Step(shift - 1),
            Operand::Input(i) if i > at => Operand::Input(i - 1),
            Operand::Step(s) => Operand::Step(s + shift),
            other => other,
        })
    }));
    (inputs.len() <= MAX_INPUTS && steps.len() <= MAX_STEPS).then_some(Chain { inputs, steps })
}

fn map_operands(step: &Step, map: impl Fn(Operand) -> Operand) -> Step {
    match *step {
        Step::Unary(op, x) => Step::Unary(op, map(x)),
        Step::Binary(op, a, b) => Step::Binary(op, map(a), map(b)),
        Step::Clamp(x, min, max) => Step::Clamp(map(x), min, max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::op::{Binary, Unary};
    use crate::graph::{Dim, GraphBuilder};
    use crate::tensor::DataType;

    #[test]
    fn swiglu_becomes_one_node_and_shared_results_stay() {
        let mut b = GraphBuilder::new();
        let shape = vec![Dim::from(2), Dim::from(3)];
        let gate = b.input("gate", DataType::F32, shape.clone()).unwrap();
        let up = b.input("up", DataType::F32, shape).unwrap();
        let silu = b.unary(Unary::Silu, gate).unwrap();
        let out = b.mul(silu, up).unwrap();
        let twice = b.binary(Binary::Add, out, out).unwrap();
        b.output("y", twice).unwrap();
        let fused = fuse_elementwise(&b.finish()).unwrap();
        // `out` is used twice by one node, so it is not absorbed; silu and mul are one.
        assert_eq!(fused.nodes.len(), 2);
        let Op::Fused(first) = &fused.nodes[0].op else {
            panic!("{:?}", fused.nodes[0].op)
        };
        assert_eq!(first.steps.len(), 2);
        assert_eq!(first.steps[0], Step::Unary(Unary::Silu, Operand::Input(1)));
    }

    #[test]
    fn a_broadcast_result_is_not_absorbed() {
        let mut b = GraphBuilder::new();
        let x = b
            .input("x", DataType::F32, vec![Dim::from(2), Dim::from(3)])
            .unwrap();
        let row = b.input("row", DataType::F32, vec![Dim::from(3)]).unwrap();
        let exp = b.unary(Unary::Exp, row).unwrap();
        let out = b.add_values(x, exp).unwrap();
        b.output("y", out).unwrap();
        assert_eq!(fuse_elementwise(&b.finish()).unwrap().nodes.len(), 2);
    }
}

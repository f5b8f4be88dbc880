//! Copies a graph node by node into a builder, so that a pass changes only what it is about.

use crate::graph::{Dim, Graph, GraphBuilder, GraphError, Node, Op, Shape, Source, ValueId};

/// A new graph under construction, and what each value of the old one has become.
pub struct Rewriter<'a> {
    old: &'a Graph,
    builder: GraphBuilder,
    map: Vec<Option<ValueId>>,
}

impl<'a> Rewriter<'a> {
    /// Starts with the inputs, weights, constants and states of `old`.
    pub fn new(old: &'a Graph) -> Result<Rewriter<'a>, GraphError> {
        Rewriter::with_shapes(old, |shape| Ok(shape.to_vec()))
    }

    /// The same, with the shape of each input and state changed by `change`.
    pub fn with_shapes(
        old: &'a Graph,
        change: impl Fn(&[Dim]) -> Result<Shape, GraphError>,
    ) -> Result<Rewriter<'a>, GraphError> {
        let mut builder = GraphBuilder::new();
        let mut map = vec![None; old.values.len()];
        // Inputs first and in their order, which is part of the graph's interface.
        for &id in &old.inputs {
            let value = old.value(id);
            if let (Source::Input(name), Some(data_type)) = (&value.source, value.element.plain()) {
                map[id.index()] = Some(builder.input(name, data_type, change(&value.shape)?)?);
            }
        }
        for (i, value) in old.values.iter().enumerate() {
            let new = match &value.source {
                Source::Weight(name) => {
                    builder.weight(name, value.element, &value.fixed_shape()?)?
                }
                Source::Constant(tensor) => builder.shared_constant(tensor.clone()),
                Source::State(name) => match value.element.plain() {
                    Some(data_type) => builder.state(name, data_type, change(&value.shape)?)?,
                    None => continue,
                },
                Source::Input(_) | Source::Node(..) => continue,
            };
            map[i] = Some(new);
        }
        Ok(Rewriter { old, builder, map })
    }

    pub fn builder(&mut self) -> &mut GraphBuilder {
        &mut self.builder
    }

    /// What an old value has become.
    pub fn get(&self, old: ValueId) -> Result<ValueId, GraphError> {
        self.map[old.index()].ok_or_else(|| GraphError::Operand {
            op: "rewrite",
            message: format!("value {} is used before it is made", old.0),
        })
    }

    pub fn get_all(&self, old: &[ValueId]) -> Result<Vec<ValueId>, GraphError> {
        old.iter().map(|&id| self.get(id)).collect()
    }

    /// Says that the old value is now `new`.
    pub fn replace(&mut self, old: ValueId, new: ValueId) {
        self.map[old.index()] = Some(new);
    }

    /// Copies a node as it is.
    pub fn copy(&mut self, node: &Node) -> Result<(), GraphError> {
        self.copy_as(node, node.op.clone())
    }

    /// Copies a node with another operator over the same inputs.
    pub fn copy_as(&mut self, node: &Node, op: Op) -> Result<(), GraphError> {
        let inputs = self.get_all(&node.inputs)?;
        let output = self.builder.op(op, &inputs)?;
        self.replace(node.outputs[0], output);
        Ok(())
    }

    /// The new graph, with the old outputs.
    pub fn finish(mut self) -> Result<Graph, GraphError> {
        for (name, id) in &self.old.outputs {
            let new = self.get(*id)?;
            self.builder.output(name, new)?;
        }
        Ok(self.builder.finish())
    }
}

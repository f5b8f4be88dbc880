//! The states of a session: made when first needed, grown when a run asks for more.

use std::collections::BTreeMap;

use super::SessionError;
use super::plans::PlanCache;
use crate::backend::{Backend, StateId};
use crate::graph::{Bindings, Dim, Graph, GraphError, Shape, fixed_shape};
use crate::tensor::DataType;

/// The axis along which states grow: `[batch, heads, capacity, size]`.
const CAPACITY_AXIS: usize = 2;

struct Template {
    name: String,
    data_type: DataType,
    shape: Shape,
}

pub(super) struct States {
    /// Of each part.
    templates: Vec<Vec<Template>>,
    ids: BTreeMap<String, StateId>,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl States {
    pub(super) fn new(parts: &[Graph]) -> States {
        States {
            templates: parts.iter().map(templates).collect(),
            ids: BTreeMap::new(),
            shapes: BTreeMap::new(),
        }
    }

    /// Says which states a part has, of a new number or one that is free again.
    pub(super) fn set_part(&mut self, part: usize, graph: &Graph) {
        if self.templates.len() <= part {
            self.templates.resize_with(part + 1, Vec::new);
        }
        self.templates[part] = templates(graph);
    }

    pub(super) fn ids(&self) -> &BTreeMap<String, StateId> {
        &self.ids
    }

    /// Makes the states of a part as large as `bindings` ask. Plans refer to states, so a change clears them first.
    pub(super) fn fit(
        &mut self,
        backend: &mut dyn Backend,
        part: usize,
        bindings: &Bindings,
        plans: &mut PlanCache,
    ) -> Result<(), SessionError> {
        // Plans with symbols stay.
        let symbols = backend.takes_symbols();
        let mut changed = symbols;
        for template in &self.templates[part] {
            let bound: Result<Vec<Dim>, GraphError> = template
                .shape
                .iter()
                .map(|dim| dim.bind(bindings))
                .collect();
            let shape = fixed_shape(&bound?)
                .ok_or_else(|| GraphError::NotSpecialized(format!("{:?}", template.shape)))?;
            let current = self.shapes.get(&template.name);
            if current == Some(&shape) {
                continue;
            }
            if !changed {
                plans.clear(backend);
                changed = true;
            }
            let grows = current.is_some_and(|current| only_grows(current, &shape));
            match self.ids.get(&template.name) {
                Some(&id) if grows => {
                    backend.grow_state(id, CAPACITY_AXIS, shape[CAPACITY_AXIS])?;
                }
                Some(&id) if symbols => backend.reset_state(id, &shape)?,
                old => {
                    if let Some(&id) = old {
                        backend.drop_state(id);
                    }
                    let id = backend.create_state(template.data_type, &shape)?;
                    self.ids.insert(template.name.clone(), id);
                }
            }
            self.shapes.insert(template.name.clone(), shape);
        }
        Ok(())
    }
}

fn templates(graph: &Graph) -> Vec<Template> {
    graph
        .states()
        .filter_map(|(_, name, value)| {
            Some(Template {
                name: name.to_owned(),
                data_type: value.element.plain()?,
                shape: value.shape.clone(),
            })
        })
        .collect()
}

fn only_grows(from: &[usize], to: &[usize]) -> bool {
    from.len() == to.len()
        && from.len() > CAPACITY_AXIS
        && (0..from.len())
            .all(|axis| from[axis] == to[axis] || (axis == CAPACITY_AXIS && from[axis] < to[axis]))
}

//! The few plans a session keeps; the least recently used goes.

use std::collections::BTreeMap;

use super::SessionError;
use super::integers::Limit;
use crate::backend::{Backend, PlanId, StateId, WeightId};
use crate::graph::decompose::decompose;
use crate::graph::pass::{fold_constants, fuse_elementwise, prune_inputs};
use crate::graph::{Bindings, Graph};

/// Decode, the sizes of prefill chunks (the largest with and without logits), and some to spare for another part.
const MAX_PLANS: usize = 12;

struct Cached {
    part: usize,
    bindings: Bindings,
    outputs: Vec<String>,
    plan: Plan,
    last_used: u64,
}

/// A compiled plan, and what it wants of inputs besides their shapes.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) id: PlanId,
    pub(super) limit: Option<Limit>,
}

#[derive(Default)]
pub(super) struct PlanCache {
    plans: Vec<Cached>,
    clock: u64,
    pub(super) compilations: usize,
}

impl PlanCache {
    pub(super) fn clear(&mut self, backend: &mut dyn Backend) {
        for cached in self.plans.drain(..) {
            backend.drop_plan(cached.plan.id);
        }
    }

    /// Drops the plans of a part.
    pub(super) fn drop_part(&mut self, backend: &mut dyn Backend, part: usize) {
        self.plans.retain(|cached| {
            if cached.part == part {
                backend.drop_plan(cached.plan.id);
            }
            cached.part != part
        });
    }

    /// The plan of a part, by its number and graph, for these bindings and outputs; compiled if it is not there.
    pub(super) async fn get(
        &mut self,
        backend: &mut dyn Backend,
        (part, graph): (usize, &Graph),
        bindings: &Bindings,
        outputs: &[&str],
        weights: &BTreeMap<String, WeightId>,
        states: &BTreeMap<String, StateId>,
    ) -> Result<Plan, SessionError> {
        self.clock += 1;
        let clock = self.clock;
        let symbols = backend.takes_symbols();
        let (none, first) = (Bindings::new(), graph.outputs.first());
        let bindings = if symbols { &none } else { bindings };
        let found = self.plans.iter_mut().find(|cached| {
            cached.part == part
                && cached.bindings == *bindings
                // A run for its states alone does not want a plan of its own where each holds all weights.
                && (cached.outputs == outputs || (symbols && outputs.is_empty()))
        });
        if let Some(cached) = found {
            cached.last_used = clock;
            return Ok(cached.plan);
        }
        if self.plans.len() >= MAX_PLANS
            && let Some(oldest) = (0..self.plans.len()).min_by_key(|&i| self.plans[i].last_used)
        {
            backend.drop_plan(self.plans.swap_remove(oldest).plan.id);
        }
        let one = first.map(|(name, _)| name.as_str());
        let outputs: &[&str] = match &one {
            Some(one) if symbols && outputs.is_empty() => std::slice::from_ref(one),
            _ => outputs,
        };
        let prepared = prepare(backend, graph, bindings, outputs)?;
        let limit = match backend.keeps_64_bits() {
            true => None,
            false => Limit::of(&prepared)?,
        };
        let id = backend.compile(&prepared, weights, states).await?;
        let plan = Plan { id, limit };
        self.compilations += 1;
        self.plans.push(Cached {
            part,
            bindings: bindings.clone(),
            outputs: outputs.iter().map(|&name| name.to_owned()).collect(),
            plan,
            last_used: clock,
        });
        Ok(plan)
    }
}

/// From the model's graph to the one a back end compiles.
fn prepare(
    backend: &dyn Backend,
    graph: &Graph,
    bindings: &Bindings,
    outputs: &[&str],
) -> Result<Graph, SessionError> {
    let mut wanted = graph.clone();
    for name in outputs {
        if !graph.outputs.iter().any(|(known, _)| known == name) {
            return Err(SessionError::UnknownOutput((*name).to_owned()));
        }
    }
    wanted
        .outputs
        .retain(|(name, _)| outputs.contains(&name.as_str()));
    let needed = prune_inputs(&wanted);
    if backend.takes_symbols() {
        return Ok(needed);
    }
    // A symbol that only dropped parts had is no longer there to bind.
    let symbols = needed.symbols();
    let bindings = bindings
        .iter()
        .filter(|(name, _)| symbols.contains(*name))
        .map(|(name, &size)| (name.clone(), size))
        .collect();
    let fixed = needed.specialize(&bindings)?;
    let decomposed = decompose(&fixed, |op, elements| backend.supports(op, elements))?;
    let folded = fold_constants(&decomposed)?;
    Ok(fuse_elementwise(&folded)?)
}

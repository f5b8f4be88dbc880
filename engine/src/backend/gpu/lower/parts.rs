//! Values larger than a binding, which element-wise operators read and write part by part.

use super::{Lowering, Place, unsupported};
use crate::backend::BackendError;
use crate::graph::{Node, Op, Source, ValueId};

/// Of buffers larger than a binding, the part that a dispatch binds.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The bindings that it is of; others are whole.
    pub(crate) of: Vec<u32>,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// Whether an operator may bind its operands by parts; others bind them whole.
pub(super) fn are_bound(op: &Op) -> bool {
    matches!(
        op,
        Op::Reshape { .. }
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Logical(_)
            | Op::Clamp { .. }
            | Op::Where
            | Op::Cast { .. }
            | Op::Fused(_)
            | Op::Extension(_)
    )
}

impl Lowering<'_> {
    /// The same for a value that is only bound by parts, of [`Lowering::most_elements`] at most.
    pub(super) fn make_large(
        &mut self,
        op: &'static str,
        id: ValueId,
    ) -> Result<Place, BackendError> {
        let bytes = 4 * self.elements(id) as u64;
        let most = self.opened.facts.max_buffer;
        if bytes > most {
            let reason = format!("a value of {bytes} bytes is larger than a buffer ({most})");
            return Err(unsupported(op, reason));
        }
        let place = Place::Slot(self.slots.take(bytes));
        self.places[id.index()] = Some(place);
        Ok(place)
    }

    /// Elements that a binding holds, in whole steps of where one may begin.
    pub(super) fn most_elements(&self) -> usize {
        (self.opened.facts.max_binding as usize / 4 / 1024).max(1) * 1024
    }

    /// Refuses values that a node would bind whole and are too large for it.
    pub(super) fn check_inputs(&self, node: &Node) -> Result<(), BackendError> {
        for &id in &node.inputs {
            if !matches!(
                self.graph.value(id).source,
                Source::Weight(_) | Source::State(_)
            ) {
                self.check_size(node.op.name(), 4 * self.elements(id))?;
            }
        }
        Ok(())
    }
}

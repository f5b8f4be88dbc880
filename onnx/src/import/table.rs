//! Which operator is imported by which function, and from which version of the operator set on.

use super::context::{Context, Value};
use super::error::Refusal;
use super::node::Node;
use super::operators;

/// What makes a node's outputs of its inputs, in order.
pub(crate) type Computed = fn(&mut Context, &Node<'_>) -> Result<Vec<Value>, Refusal>;

#[derive(Clone, Copy)]
pub(crate) enum Function {
    Computed(Computed),
    /// With graphs in its attributes: [`super::control`].
    Control,
}

#[derive(Clone, Copy)]
pub(crate) struct Entry {
    op_type: &'static str,
    /// The first version of the operator set that it is right for; it holds until an entry of a later one.
    since: i64,
    pub(crate) function: Function,
    /// Whether 16-bit floats are computed in f32: what is several nodes here must not be rounded after each.
    pub(crate) widened: bool,
}

impl Entry {
    pub(crate) const fn new(op_type: &'static str, since: i64, function: Computed) -> Entry {
        Entry {
            op_type,
            since,
            function: Function::Computed(function),
            widened: false,
        }
    }

    pub(crate) const fn control(op_type: &'static str, since: i64) -> Entry {
        Entry {
            op_type,
            since,
            function: Function::Control,
            widened: false,
        }
    }

    pub(crate) const fn widened(op_type: &'static str, since: i64, function: Computed) -> Entry {
        Entry {
            widened: true,
            ..Entry::new(op_type, since, function)
        }
    }
}

/// The newest version of `ai.onnx` whose operators were read for this table.
pub(crate) const NEWEST: i64 = 28;

/// The default domain's name, which files also leave empty.
pub(crate) const DEFAULT_DOMAIN: &str = "ai.onnx";

/// The domain of ONNX Runtime's own operators.
pub(crate) const MICROSOFT: &str = "com.microsoft";

/// The entry for an operator of a version of a domain, or why there is none.
pub(crate) fn find(domain: &str, op_type: &str, opset: i64) -> Result<&'static Entry, String> {
    let microsoft = match domain {
        DEFAULT_DOMAIN if opset > NEWEST => {
            return Err(format!("operator sets are known up to {NEWEST}"));
        }
        DEFAULT_DOMAIN => false,
        MICROSOFT => true,
        _ => return Err(format!("operators of {domain} are not imported")),
    };
    let families: Vec<&'static [Entry]> = match microsoft {
        true => operators::microsoft::FAMILIES.to_vec(),
        false => {
            let own = operators::FAMILIES.iter().copied();
            own.chain([operators::microsoft::IN_DEFAULT_DOMAIN])
                .collect()
        }
    };
    let families = families.into_iter().flatten();
    let (mut found, mut earliest) = (None::<&Entry>, None::<i64>);
    for entry in families.filter(|entry| entry.op_type == op_type) {
        earliest = Some(earliest.map_or(entry.since, |since| since.min(entry.since)));
        if entry.since <= opset && found.is_none_or(|known| known.since < entry.since) {
            found = Some(entry);
        }
    }
    found.ok_or_else(|| match earliest {
        Some(since) => format!("imported from operator set {since} on"),
        None => "not imported".to_owned(),
    })
}

/// Every operator of the table with the first version of the operator set that it is imported of.
pub fn imported_operators() -> std::collections::BTreeMap<&'static str, i64> {
    let mut all = std::collections::BTreeMap::new();
    for entry in operators::FAMILIES.iter().copied().flatten() {
        let since = all.entry(entry.op_type).or_insert(entry.since);
        *since = entry.since.min(*since);
    }
    all
}

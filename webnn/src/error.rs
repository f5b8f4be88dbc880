//! What a page that breaks one of the specification's rules is told.

use std::fmt;

use fewbit_engine::graph::GraphError;

/// The exceptions of the specification that building a graph can throw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exception {
    /// JavaScript's own `TypeError`: an argument that is against the rules.
    TypeError,
    /// A `DOMException`: the builder was used up by `build()`.
    InvalidStateError,
    /// A `DOMException`: within the rules, but beyond what this implementation can do.
    NotSupportedError,
}

impl Exception {
    /// The exception's `name` in JavaScript.
    pub const fn name(self) -> &'static str {
        match self {
            Exception::TypeError => "TypeError",
            Exception::InvalidStateError => "InvalidStateError",
            Exception::NotSupportedError => "NotSupportedError",
        }
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A call that the specification refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{exception}: {method}(): {rule}")]
pub struct BuildError {
    /// What the page gets.
    pub exception: Exception,
    /// The method of `MLGraphBuilder` that was called.
    pub method: String,
    /// The specification's rule that was broken, with the numbers that break it.
    pub rule: String,
}

/// An error before it is known which method's it is.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) exception: Exception,
    pub(crate) rule: String,
}

impl Fault {
    pub(crate) fn at(self, method: &str) -> BuildError {
        BuildError {
            exception: self.exception,
            method: method.to_owned(),
            rule: self.rule,
        }
    }
}

/// A `TypeError`.
pub(crate) fn refuse<T>(rule: impl Into<String>) -> Result<T, Fault> {
    Err(Fault {
        exception: Exception::TypeError,
        rule: rule.into(),
    })
}

/// A rule as a condition.
pub(crate) fn rule(holds: bool, rule: impl FnOnce() -> String) -> Result<(), Fault> {
    match holds {
        true => Ok(()),
        false => refuse(rule()),
    }
}

/// Within the rules but not here.
pub(crate) fn beyond<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault {
        exception: Exception::NotSupportedError,
        rule: why.into(),
    })
}

/// What has passed the specification's rules and the graph's refuse: a limit of ours.
impl From<GraphError> for Fault {
    fn from(error: GraphError) -> Fault {
        Fault {
            exception: Exception::NotSupportedError,
            rule: error.to_string(),
        }
    }
}

impl From<fewbit_engine::tensor::TensorError> for Fault {
    fn from(error: fewbit_engine::tensor::TensorError) -> Fault {
        Fault {
            exception: Exception::NotSupportedError,
            rule: error.to_string(),
        }
    }
}

//! What the walk over a file's graph says of what it cannot take: the file, and where in it.

use super::error::Refusal;
use super::importer::Importer;
use super::operator_set::{called, domain_of};
use super::{ImportError, UnsupportedOperator};
use crate::proto::NodeProto;

impl Importer<'_> {
    pub(super) fn not_imported(&self, what: String) -> ImportError {
        ImportError::NotImported {
            file: self.file.to_owned(),
            what,
        }
    }

    pub(super) fn tensor_fault(&self, tensor: &str, reason: String) -> ImportError {
        ImportError::Tensor {
            file: self.file.to_owned(),
            tensor: tensor.to_owned(),
            reason,
        }
    }

    pub(super) fn value_fault(&self, value: &str, reason: String) -> ImportError {
        ImportError::Value {
            file: self.file.to_owned(),
            value: value.to_owned(),
            reason,
        }
    }

    pub(super) fn refused_value(&self, value: &str, refusal: &Refusal) -> ImportError {
        let reason = match refusal {
            Refusal::Wrong(reason) | Refusal::Unsupported(reason) => reason.clone(),
            Refusal::Value(inputs) => format!("it depends on {}", inputs.join(", ")),
            Refusal::Weight(name) => format!("it depends on {name}"),
            Refusal::Sizes(symbols) => format!("it depends on {}", symbols.join(", ")),
        };
        self.value_fault(value, reason)
    }

    pub(super) fn refused(
        &self,
        at: usize,
        proto: &NodeProto,
        opset: i64,
        refusal: Refusal,
    ) -> ImportError {
        let file = self.file.to_owned();
        let node = called(proto, at);
        let op_type = proto.op_type.clone().unwrap_or_default();
        match refusal {
            Refusal::Wrong(reason) => ImportError::Node {
                file,
                node,
                op_type,
                reason,
            },
            Refusal::Sizes(symbols) => ImportError::SizesNeeded {
                file,
                node,
                op_type,
                symbols,
            },
            Refusal::Weight(name) => ImportError::Node {
                file,
                node,
                op_type,
                reason: format!("it depends on {name}"),
            },
            Refusal::Value(inputs) => ImportError::ValueNeeded {
                file,
                node,
                op_type,
                inputs,
            },
            Refusal::Unsupported(reason) => ImportError::Unsupported {
                file,
                operators: vec![UnsupportedOperator {
                    node,
                    op_type,
                    domain: domain_of(proto.domain.as_deref()).to_owned(),
                    opset,
                    reason,
                }],
            },
        }
    }
}

//! Dimensions: constants, or affine expressions over named symbols such as `tokens` or `capacity`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, Mul, Sub};
use std::sync::Arc;

use super::GraphError;

/// What each symbol stands for when a graph is specialized.
pub type Bindings = BTreeMap<String, usize>;

/// A dimension: `constant + Σ factor·symbol`. Terms are sorted by symbol and have no zero factor,
/// so equal expressions are equal values.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dim {
    constant: i64,
    terms: Vec<(Arc<str>, i64)>,
}

/// A shape, outermost dimension first.
pub type Shape = Vec<Dim>;

impl Dim {
    pub fn symbol(name: &str) -> Dim {
        Dim {
            constant: 0,
            terms: vec![(Arc::from(name), 1)],
        }
    }

    /// The value, if no symbol is left in it and it is no negative number.
    pub fn fixed(&self) -> Option<usize> {
        if self.terms.is_empty() {
            usize::try_from(self.constant).ok()
        } else {
            None
        }
    }

    pub fn is_one(&self) -> bool {
        self.fixed() == Some(1)
    }

    /// The symbol that it is, if it is one and nothing more.
    pub fn as_symbol(&self) -> Option<&str> {
        match (self.constant, self.terms.as_slice()) {
            (0, [(name, 1)]) => Some(name),
            _ => None,
        }
    }

    /// The names of the symbols in it.
    pub fn symbols(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().map(|(name, _)| &**name)
    }

    /// Puts numbers for the symbols that `bindings` names and keeps the others.
    pub fn bind(&self, bindings: &Bindings) -> Result<Dim, GraphError> {
        let mut out = Dim::from_i64(self.constant);
        for (name, factor) in &self.terms {
            match bindings.get(&**name) {
                Some(&value) => {
                    let value = i64::try_from(value)
                        .ok()
                        .and_then(|v| v.checked_mul(*factor));
                    out.constant = value
                        .and_then(|v| v.checked_add(out.constant))
                        .ok_or_else(|| GraphError::DimOverflow(self.to_string()))?;
                }
                None => out = out + Dim::symbol(name) * *factor,
            }
        }
        if out.terms.is_empty() && out.constant < 0 {
            return Err(GraphError::DimOverflow(self.to_string()));
        }
        Ok(out)
    }

    fn from_i64(constant: i64) -> Dim {
        Dim {
            constant,
            terms: Vec::new(),
        }
    }

    fn combine(self, other: Dim, sign: i64) -> Dim {
        let mut terms: BTreeMap<Arc<str>, i64> = self.terms.into_iter().collect();
        for (name, factor) in other.terms {
            *terms.entry(name).or_insert(0) += sign * factor;
        }
        Dim {
            constant: self.constant + sign * other.constant,
            terms: terms.into_iter().filter(|&(_, f)| f != 0).collect(),
        }
    }
}

impl From<usize> for Dim {
    fn from(value: usize) -> Dim {
        Dim::from_i64(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl Add for Dim {
    type Output = Dim;
    fn add(self, other: Dim) -> Dim {
        self.combine(other, 1)
    }
}

impl Sub for Dim {
    type Output = Dim;
    fn sub(self, other: Dim) -> Dim {
        self.combine(other, -1)
    }
}

impl Mul<i64> for Dim {
    type Output = Dim;
    fn mul(self, factor: i64) -> Dim {
        if factor == 0 {
            return Dim::from_i64(0);
        }
        Dim {
            constant: self.constant.saturating_mul(factor),
            terms: self
                .terms
                .into_iter()
                .map(|(name, f)| (name, f.saturating_mul(factor)))
                .collect(),
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (name, factor) in &self.terms {
            let sign = match (first, *factor < 0) {
                (true, false) => "",
                (true, true) | (false, true) => "-",
                (false, false) => "+",
            };
            match factor.abs() {
                1 => write!(f, "{sign}{name}")?,
                n => write!(f, "{sign}{n}*{name}")?,
            }
            first = false;
        }
        match self.constant {
            c if first => write!(f, "{c}"),
            0 => Ok(()),
            c => write!(f, "{c:+}"),
        }
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// All dimensions of `shape` as numbers, if no symbol is left.
pub fn fixed_shape(shape: &[Dim]) -> Option<Vec<usize>> {
    shape.iter().map(Dim::fixed).collect()
}

/// The product of dimensions of which at most one is symbolic.
pub fn product(shape: &[Dim]) -> Option<Dim> {
    let mut constant: i64 = 1;
    let mut symbolic: Option<Dim> = None;
    for dim in shape {
        match dim.fixed() {
            Some(n) => constant = constant.checked_mul(i64::try_from(n).ok()?)?,
            None if symbolic.is_none() => symbolic = Some(dim.clone()),
            None => return None,
        }
    }
    Some(match symbolic {
        Some(dim) => dim * constant,
        None => Dim::from_i64(constant),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affine_arithmetic_is_canonical() {
        let t = Dim::symbol("tokens");
        assert_eq!(t.clone() + Dim::from(3) - t.clone(), Dim::from(3));
        assert_eq!((t.clone() * 2 + Dim::from(1)).to_string(), "2*tokens+1");
        assert_eq!(t.clone() + t.clone(), t * 2);
    }

    #[test]
    fn binding_keeps_unbound_symbols_and_refuses_negative_sizes() {
        let d = Dim::symbol("batch") * 4 + Dim::symbol("tokens");
        let bound = d.bind(&Bindings::from([("batch".into(), 2)])).unwrap();
        assert_eq!(bound.to_string(), "tokens+8");
        let short = Dim::symbol("tokens") - Dim::from(5);
        assert!(short.bind(&Bindings::from([("tokens".into(), 3)])).is_err());
    }
}

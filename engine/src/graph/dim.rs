//! Dimensions: constants, or expressions over named symbols such as `tokens` or `height`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, Mul, Sub};
use std::sync::Arc;

use super::GraphError;

/// What each symbol stands for when a graph is specialized.
pub type Bindings = BTreeMap<String, usize>;

/// A dimension: `constant + Σ factor·product of atoms`, an atom being a symbol or a quotient rounded down.
/// Terms are sorted by their atoms and have no zero factor, and quotients are reduced (see
/// [`Dim::floor_div`]), so expressions made in the same way are equal values.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dim {
    pub(super) constant: i64,
    pub(super) terms: Vec<(Vec<Atom>, i64)>,
}

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Atom {
    Symbol(Arc<str>),
    /// `⌊dividend / divisor⌋`, the divisor being at least 2.
    Quotient(Arc<Dim>, i64),
}

/// A factor of a term of a dimension ([`Dim::parts`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor<'a> {
    Symbol(&'a str),
    /// `⌊dividend / divisor⌋`
    Quotient(&'a Dim, i64),
}

/// A division ends after so many terms.
const MOST_STEPS: usize = 32;

/// A shape, outermost dimension first.
pub type Shape = Vec<Dim>;

impl Dim {
    pub fn symbol(name: &str) -> Dim {
        Dim::of_atom(Atom::Symbol(Arc::from(name)))
    }

    /// The value, if no symbol is left in it and it is no negative number.
    pub fn fixed(&self) -> Option<usize> {
        if self.terms.is_empty() {
            usize::try_from(self.constant).ok()
        } else {
            None
        }
    }

    /// The number that it is, which may be negative, if no symbol is left in it.
    pub fn integer(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// How it compares with 0, whatever sizes its symbols stand for; `None` where that depends on them.
    pub fn sign(&self) -> Option<Ordering> {
        if self.terms.is_empty() {
            return Some(self.constant.cmp(&0));
        }
        // Symbols are sizes, and so are quotients of what is none below 0.
        let is_size = |atom: &Atom| match atom {
            Atom::Symbol(_) => true,
            Atom::Quotient(dividend, _) => dividend.is_size(),
        };
        if !self
            .terms
            .iter()
            .all(|(atoms, _)| atoms.iter().all(is_size))
        {
            return None;
        }
        let mut factors = self.terms.iter().map(|&(_, factor)| factor);
        if self.constant > 0 && factors.clone().all(|factor| factor > 0) {
            Some(Ordering::Greater)
        } else if self.constant < 0 && factors.all(|factor| factor < 0) {
            Some(Ordering::Less)
        } else {
            None
        }
    }

    /// Whether it is at least 0, whatever sizes its symbols stand for.
    pub fn is_size(&self) -> bool {
        (self.clone() + Dim::from_i64(1)).sign() == Some(Ordering::Greater)
    }

    /// `self / divisor`, if there is such an expression; where `divisor` is 0 for some sizes, it is right for the others.
    pub fn divided(&self, divisor: &Dim) -> Option<Dim> {
        let (mut rest, mut quotient) = (self.clone(), Dim::from_i64(0));
        let (lead, by) = divisor.leading()?;
        // Each step takes away the greatest term.
        for _ in 0..MOST_STEPS {
            let Some((atoms, factor)) = rest.leading() else {
                return Some(quotient);
            };
            let mut left = atoms;
            for atom in &lead {
                let at = left.iter().position(|known| known == atom)?;
                left.remove(at);
            }
            if factor % by != 0 {
                return None;
            }
            let factor = factor / by;
            let term = match left.is_empty() {
                true => Dim::from_i64(factor),
                false => Dim {
                    constant: 0,
                    terms: vec![(left, factor)],
                },
            };
            rest = rest - divisor.clone() * term.clone();
            quotient = quotient + term;
        }
        None
    }

    /// The term of the most atoms, and of those the last; `None` for 0.
    fn leading(&self) -> Option<(Vec<Atom>, i64)> {
        let terms = self.terms.iter();
        match terms.max_by(|a, b| (a.0.len(), &a.0).cmp(&(b.0.len(), &b.0))) {
            Some((atoms, factor)) => Some((atoms.clone(), *factor)),
            None if self.constant != 0 => Some((Vec::new(), self.constant)),
            None => None,
        }
    }

    pub fn is_one(&self) -> bool {
        self.fixed() == Some(1)
    }

    /// The symbol that it is, if it is one and nothing more.
    pub fn as_symbol(&self) -> Option<&str> {
        match (self.constant, self.terms.as_slice()) {
            (0, [(atoms, 1)]) => match atoms.as_slice() {
                [Atom::Symbol(name)] => Some(name),
                _ => None,
            },
            _ => None,
        }
    }

    /// The number that stands alone in it.
    pub fn constant(&self) -> i64 {
        self.constant
    }

    /// Its terms, each a number and the factors that it is multiplied with.
    pub fn parts(&self) -> impl Iterator<Item = (i64, Vec<Factor<'_>>)> {
        self.terms.iter().map(|(atoms, factor)| {
            let factors = atoms.iter().map(|atom| match atom {
                Atom::Symbol(name) => Factor::Symbol(name),
                Atom::Quotient(dividend, divisor) => Factor::Quotient(dividend, *divisor),
            });
            (*factor, factors.collect())
        })
    }

    /// The names of the symbols in it.
    pub fn symbols(&self) -> impl Iterator<Item = &str> {
        let mut names = Vec::new();
        self.collect_symbols(&mut names);
        names.into_iter()
    }

    /// How many terms and atoms it is made of: what it takes in memory.
    pub(super) fn terms(&self) -> usize {
        let atoms = self.terms.iter().flat_map(|(atoms, _)| atoms);
        let inner = atoms.map(|atom| match atom {
            Atom::Symbol(_) => 1,
            Atom::Quotient(dividend, _) => 1 + dividend.terms(),
        });
        self.terms.len() + inner.sum::<usize>()
    }

    fn collect_symbols<'a>(&'a self, names: &mut Vec<&'a str>) {
        for atom in self.terms.iter().flat_map(|(atoms, _)| atoms) {
            match atom {
                Atom::Symbol(name) => names.push(name),
                Atom::Quotient(dividend, _) => dividend.collect_symbols(names),
            }
        }
    }

    /// `⌊self / divisor⌋`. Whole multiples of `divisor` come out of the quotient, and a quotient of a
    /// quotient is one quotient: `⌊(4h + 7) / 2⌋` is `2h + 3`, `⌊(⌊h/2⌋ + 1) / 2⌋` is `⌊(h + 2) / 4⌋`.
    ///
    /// # Errors
    /// A divisor of 0.
    pub fn floor_div(&self, divisor: usize) -> Result<Dim, GraphError> {
        let divisor = i64::try_from(divisor)
            .ok()
            .filter(|&divisor| divisor > 0)
            .ok_or_else(|| GraphError::DimOverflow(format!("({self})/{divisor}")))?;
        let mut whole = Dim::from_i64(self.constant.div_euclid(divisor));
        let mut rest = Dim::from_i64(self.constant.rem_euclid(divisor));
        for (atoms, factor) in &self.terms {
            let (out, left) = (factor.div_euclid(divisor), factor.rem_euclid(divisor));
            if out != 0 {
                whole.terms.push((atoms.clone(), out));
            }
            if left != 0 {
                rest.terms.push((atoms.clone(), left));
            }
        }
        if rest.terms.is_empty() {
            // What is left is below the divisor.
            return Ok(whole);
        }
        if let [(atoms, 1)] = rest.terms.as_slice()
            && let [Atom::Quotient(dividend, by)] = atoms.as_slice()
            && let Some(both) = by.checked_mul(divisor)
        {
            let inner = (**dividend).clone() + Dim::from_i64(rest.constant.saturating_mul(*by));
            let both = usize::try_from(both).unwrap_or(usize::MAX);
            return Ok(whole + inner.floor_div(both)?);
        }
        Ok(whole + Dim::of_atom(Atom::Quotient(Arc::new(rest), divisor)))
    }

    /// Puts numbers for the symbols that `bindings` names and keeps the others.
    pub fn bind(&self, bindings: &Bindings) -> Result<Dim, GraphError> {
        let out = self.substitute(bindings)?;
        if out.terms.is_empty() && out.constant < 0 {
            return Err(GraphError::DimOverflow(self.to_string()));
        }
        Ok(out)
    }

    fn substitute(&self, bindings: &Bindings) -> Result<Dim, GraphError> {
        let overflow = || GraphError::DimOverflow(self.to_string());
        let mut out = Dim::from_i64(self.constant);
        for (atoms, factor) in &self.terms {
            let mut known = *factor;
            let mut unknown = Dim::from_i64(1);
            for atom in atoms {
                let value = match atom {
                    Atom::Symbol(name) => match bindings.get(&**name) {
                        Some(&value) => Dim::from(value),
                        None => Dim::of_atom(atom.clone()),
                    },
                    Atom::Quotient(dividend, divisor) => {
                        let divisor = usize::try_from(*divisor).map_err(|_| overflow())?;
                        dividend.substitute(bindings)?.floor_div(divisor)?
                    }
                };
                if value.terms.is_empty() {
                    known = known.checked_mul(value.constant).ok_or_else(overflow)?;
                } else {
                    unknown = unknown * value;
                }
            }
            if unknown.terms.is_empty() {
                out.constant = out.constant.checked_add(known).ok_or_else(overflow)?;
            } else {
                out = out + unknown * known;
            }
        }
        Ok(out)
    }

    /// A number, which in arithmetic between sizes may be negative.
    pub fn from_i64(constant: i64) -> Dim {
        Dim {
            constant,
            terms: Vec::new(),
        }
    }

    fn of_atom(atom: Atom) -> Dim {
        Dim {
            constant: 0,
            terms: vec![(vec![atom], 1)],
        }
    }

    fn combine(self, other: Dim, sign: i64) -> Dim {
        let mut terms: BTreeMap<Vec<Atom>, i64> = self.terms.into_iter().collect();
        for (atoms, factor) in other.terms {
            let sum = terms.entry(atoms).or_insert(0);
            *sum = sum.saturating_add(factor.saturating_mul(sign));
        }
        Dim {
            constant: self
                .constant
                .saturating_add(other.constant.saturating_mul(sign)),
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

impl Mul for Dim {
    type Output = Dim;
    fn mul(self, other: Dim) -> Dim {
        let mut out = self.clone() * other.constant;
        for (atoms, factor) in other.terms {
            let mut part = Dim::from_i64(0);
            if self.constant != 0 {
                part.terms.push((atoms.clone(), self.constant));
            }
            for (own, own_factor) in &self.terms {
                let mut all = own.clone();
                all.extend_from_slice(&atoms);
                all.sort();
                part.terms.push((all, *own_factor));
            }
            out = out + part * factor;
        }
        out
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (atoms, factor) in &self.terms {
            let sign = match (first, *factor < 0) {
                (true, false) => "",
                (true, true) | (false, true) => "-",
                (false, false) => "+",
            };
            f.write_str(sign)?;
            if factor.unsigned_abs() != 1 {
                write!(f, "{}*", factor.unsigned_abs())?;
            }
            for (at, atom) in atoms.iter().enumerate() {
                let times = if at > 0 { "*" } else { "" };
                match atom {
                    Atom::Symbol(name) => write!(f, "{times}{name}")?,
                    Atom::Quotient(dividend, divisor) => {
                        write!(f, "{times}floor(({dividend})/{divisor})")?;
                    }
                }
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
    fn quotients_are_reduced_and_products_are_sorted() {
        let (h, w) = (Dim::symbol("height"), Dim::symbol("width"));
        let half = |d: &Dim| (d.clone() - Dim::from(1)).floor_div(2).unwrap() + Dim::from(1);
        // Two halvings are one division by four.
        let quarter = half(&half(&h));
        assert_eq!(quarter.to_string(), "floor((height+3)/4)");
        assert_eq!(
            (h.clone() * 4 + Dim::from(7))
                .floor_div(2)
                .unwrap()
                .to_string(),
            "2*height+3"
        );
        assert_eq!(Dim::from(7).floor_div(2).unwrap(), Dim::from(3));
        assert!(h.floor_div(0).is_err());
        assert_eq!(
            h.clone() * w.clone() + h.clone(),
            h.clone() * (w.clone() + Dim::from(1))
        );
        let area = quarter.clone() * half(&w);
        assert_eq!(area, half(&w) * quarter.clone());
        let symbols: Vec<&str> = area.symbols().collect();
        assert!(symbols.contains(&"height") && symbols.contains(&"width"));
        let part = area.bind(&Bindings::from([("height".into(), 9)])).unwrap();
        assert_eq!(part, half(&w) * 3);
        assert_eq!(
            part.bind(&Bindings::from([("width".into(), 5)])).unwrap(),
            Dim::from(9)
        );
    }

    proptest::proptest! {
        /// Whatever is taken out of a quotient, its value is that of plain arithmetic.
        #[test]
        fn bound_quotients_are_what_arithmetic_says(
            n in 0usize..500, factor in 1i64..9, plus in 0usize..40, by in 1usize..9, plus_again in 0usize..9, by_again in 1usize..9,
        ) {
            let d = Dim::symbol("n") * factor + Dim::from(plus);
            let d = d.floor_div(by).unwrap() + Dim::from(plus_again);
            let d = d.floor_div(by_again).unwrap();
            let value = ((n * factor as usize + plus) / by + plus_again) / by_again;
            let bound = d.bind(&Bindings::from([("n".into(), n)])).unwrap();
            proptest::prop_assert_eq!(bound, Dim::from(value));
        }
    }

    #[test]
    fn division_is_exact_or_not_at_all() {
        let (b, s) = (Dim::symbol("batch"), Dim::symbol("tokens"));
        let all = b.clone() * s.clone() * 384;
        let heads = b.clone() * s.clone() * 12;
        assert_eq!(all.divided(&heads), Some(Dim::from(32)));
        assert_eq!(all.divided(&s), Some(b.clone() * 384));
        assert_eq!(s.divided(&Dim::from(2)), None);
        assert_eq!(s.divided(&b), None);
        assert_eq!(s.divided(&Dim::from(0)), None);
        let (sum, plus) = (b.clone() + s.clone(), s.clone() + Dim::from(1));
        assert_eq!((sum.clone() * plus.clone()).divided(&plus), Some(sum));
        assert_eq!(Dim::from(0).divided(&s), Some(Dim::from(0)));
    }

    #[test]
    fn a_sign_is_told_where_no_size_changes_it() {
        let s = Dim::symbol("tokens");
        let one = Dim::from(1);
        assert_eq!(s.sign(), None);
        assert!(s.is_size() && !(s.clone() - one.clone()).is_size());
        assert_eq!((s.clone() + one.clone()).sign(), Some(Ordering::Greater));
        assert_eq!((s.clone() * -1 - one).sign(), Some(Ordering::Less));
        assert_eq!(s.floor_div(2).unwrap().sign(), None);
        assert!(s.floor_div(2).unwrap().is_size());
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

//! Dimensions as bytes: the constant, then each term with its factor and atoms. They are read through arithmetic, so that
//! what comes out is in the one form that equal dimensions have.

use super::form::{Reader, Wire, Writer, Wrong};
use crate::graph::Dim;
use crate::graph::dim::Atom;

/// More terms and atoms than a dimension has, more atoms than a term, more quotients inside of quotients.
const MOST_TERMS: usize = 256;
const MOST_ATOMS: usize = 16;
const MOST_DEPTH: usize = 8;

impl Wire for Dim {
    fn write(&self, out: &mut Writer) {
        self.constant.write(out);
        self.terms.len().write(out);
        for (atoms, factor) in &self.terms {
            factor.write(out);
            atoms.len().write(out);
            for atom in atoms {
                match atom {
                    Atom::Symbol(name) => {
                        out.byte(0);
                        name.len().write(out);
                        out.bytes(name.as_bytes());
                    }
                    Atom::Quotient(dividend, divisor) => {
                        out.byte(1);
                        dividend.write(out);
                        divisor.write(out);
                    }
                }
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Dim, Wrong> {
        read(from, MOST_DEPTH)
    }
}

fn read(from: &mut Reader<'_>, depth: usize) -> Result<Dim, Wrong> {
    let mut dim = Dim::from_i64(i64::read(from)?);
    let terms = from.count()?;
    if terms > MOST_TERMS || (depth == 0 && terms > 0) {
        return Err(from.wrong("a dimension with too many terms"));
    }
    for _ in 0..terms {
        let mut term = Dim::from_i64(i64::read(from)?);
        let atoms = from.count()?;
        if atoms > MOST_ATOMS {
            return Err(from.wrong("a dimension with too many terms"));
        }
        for _ in 0..atoms {
            let atom = match from.byte()? {
                0 => Dim::symbol(&String::read(from)?),
                1 => {
                    let dividend = read(from, depth - 1)?;
                    let divisor = i64::read(from)?;
                    let divisor = usize::try_from(divisor).unwrap_or(0);
                    let quotient = dividend.floor_div(divisor);
                    quotient.map_err(|_| from.wrong("a quotient by no positive number"))?
                }
                _ => return Err(from.wrong("no part of a dimension")),
            };
            term = term * atom;
            if term.terms() > MOST_TERMS {
                return Err(from.wrong("a dimension with too many terms"));
            }
        }
        dim = dim + term;
        if dim.terms() > MOST_TERMS {
            return Err(from.wrong("a dimension with too many terms"));
        }
    }
    Ok(dim)
}

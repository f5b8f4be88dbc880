//! Patterns that are replaced: found in every form they are written in, with the same numbers; and what only looks like one,
//! left alone.

mod attention;
mod draft;
mod linear;
mod normalization;
mod rotary;

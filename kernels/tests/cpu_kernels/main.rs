//! CPU kernels against plain f64 formulas, on every instruction set of this machine or build.
//!
//! Shapes are random and mostly no multiples of tiles. The same suite runs in wasm: built with
//! `cargo test -p fewbit-kernels --target wasm32-unknown-unknown --test cpu_kernels --no-run`, its module exports `main`
//! and traps where an assertion fails.

mod attention;
mod linear;
mod random;
mod rows;

use fewbit_kernels::{Isa, Kernels};

/// Calls `check` with the kernels of each instruction set there is.
fn on_each(check: impl Fn(Kernels)) {
    for isa in Isa::available() {
        check(Kernels::with(isa).expect("an available instruction set"));
    }
}

/// Fails unless each number is within `tolerance` times its magnitude in `scale` (plus a trifle).
#[track_caller]
fn assert_close(got: &[f32], want: &[f64], scale: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, ((&got, &want), &scale)) in got.iter().zip(want).zip(scale).enumerate() {
        let error = (f64::from(got) - want).abs();
        let allowed = tolerance * scale.abs() + 1e-9;
        assert!(
            error <= allowed,
            "{what}: element {i} is {got}, expected {want} (off by {error:e}, allowed {allowed:e})"
        );
    }
}

//! Normalizations and elementwise functions.

use fewbit_kernels::Kernels;
use fewbit_kernels::threads::Serial;

use super::random::Random;
use super::{assert_close, on_each};

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

#[test]
fn normalizations() {
    on_each(|kernels| {
        let mut random = Random::new(31);
        for row in [1, 2, 3, 7, 16, 33, 384, 576] {
            let rows = 1 + random.below(4);
            let x: Vec<f32> = random.floats(rows * row).iter().map(|x| x * 3.0).collect();
            let (scale, bias) = (random.floats(row), random.floats(row));
            let ones = vec![1.0; x.len()];
            let what = format!("{:?}, {rows} rows of {row}", kernels.isa());

            let mut got = vec![f32::NAN; x.len()];
            kernels.rms_norm(&Serial, &x, &scale, 1e-5, &mut got);
            let mut want = Vec::new();
            for x in wide(&x).chunks(row) {
                let mean = x.iter().map(|x| x * x).sum::<f64>() / row as f64;
                let scaled = x.iter().zip(&scale);
                want.extend(scaled.map(|(x, s)| x / (mean + 1e-5).sqrt() * f64::from(*s)));
            }
            assert_close(&got, &want, &ones, 3e-6, &what);

            for (scale, bias) in [(Some(&scale[..]), Some(&bias[..])), (None, None)] {
                got.fill(f32::NAN);
                kernels.layer_norm(&Serial, &x, row, scale, bias, 1e-3, &mut got);
                let mut want = Vec::new();
                for x in wide(&x).chunks(row) {
                    let mean = x.iter().sum::<f64>() / row as f64;
                    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / row as f64;
                    for (i, x) in x.iter().enumerate() {
                        let y = (x - mean) / (variance + 1e-3).sqrt();
                        let s = scale.map_or(1.0, |s| f64::from(s[i]));
                        want.push(y * s + bias.map_or(0.0, |b| f64::from(b[i])));
                    }
                }
                assert_close(&got, &want, &ones, 5e-6, &what);
            }

            got.fill(f32::NAN);
            kernels.softmax(&Serial, &x, row, &mut got);
            let mut want = Vec::new();
            for x in wide(&x).chunks(row) {
                let sum: f64 = x.iter().map(|x| x.exp()).sum();
                want.extend(x.iter().map(|x| x.exp() / sum));
            }
            assert_close(&got, &want, &want.clone(), 3e-6, &what);
        }
    });
}

#[test]
fn softmax_of_large_and_infinite_scores() {
    on_each(|kernels| {
        let mut got = [0f32; 5];
        let x = [1e30, f32::NEG_INFINITY, 1e30, -1e30, f32::NEG_INFINITY];
        kernels.softmax(&Serial, &x, 5, &mut got);
        assert_eq!(got, [0.5, 0.0, 0.5, 0.0, 0.0]);
        kernels.softmax(&Serial, &[1.0, f32::NAN, 0.0, 0.0, 0.0], 5, &mut got);
        assert!(got.iter().all(|x| x.is_nan()), "{got:?}");
    });
}

/// The error function's Taylor series (near 0) and 1 − a continued fraction (beyond).
fn erf(x: f64) -> f64 {
    let (a, x2) = (x.abs(), x * x);
    let value = if a < 3.0 {
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term.abs() > 1e-18 {
            n += 1.0;
            term *= -x2 / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let fraction = (1..60).rev().fold(a, |f, n| a + f64::from(n) / 2.0 / f);
        1.0 - (-x2).exp() / fraction / std::f64::consts::PI.sqrt()
    };
    value.copysign(x)
}

#[test]
fn activation_functions() {
    let mut x: Vec<f32> = (-2000..=2000).map(|i| i as f32 / 100.0).collect();
    x.extend([1e-8, -1e-8, 90.0, -90.0, 200.0, -200.0, 1e30, -1e30]);
    let gate: Vec<f32> = x.iter().rev().map(|x| x.clamp(-3.0, 3.0)).collect();
    let sizes: Vec<f64> = x.iter().map(|x| f64::from(x.abs()).min(1e30)).collect();
    let want = |f: &dyn Fn(f64) -> f64| -> Vec<f64> { x.iter().map(|&x| f(x.into())).collect() };
    let silu = |x: f64| x / (1.0 + (-x).exp());
    on_each(|kernels| {
        let mut got = vec![f32::NAN; x.len()];
        kernels.silu(&Serial, &x, &mut got);
        assert_close(&got, &want(&silu), &want(&silu), 1e-6, "silu");
        kernels.gelu(&Serial, &x, &mut got);
        let exact = want(&|x| 0.5 * x * (1.0 + erf(x / 2f64.sqrt())));
        assert_close(&got, &exact, &sizes, 3e-7, "gelu");
        kernels.gelu_tanh(&Serial, &x, &mut got);
        let exact = want(&|x| {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + u.tanh())
        });
        assert_close(&got, &exact, &sizes, 1e-6, "gelu_tanh");
        kernels.silu_mul(&Serial, &x, &gate, &mut got);
        let gated: Vec<f64> = want(&silu)
            .iter()
            .zip(&gate)
            .map(|(a, b)| a * f64::from(*b))
            .collect();
        assert_close(&got, &gated, &gated, 1e-6, "silu_mul");
        kernels.silu(&Serial, &vec![f32::NAN; x.len()], &mut got);
        assert!(got.iter().all(|y| y.is_nan()));
    });
}

#[test]
fn arithmetic() {
    type Both = fn(f32, f32) -> f32;
    on_each(|kernels: Kernels| {
        let mut random = Random::new(41);
        for n in [0, 1, 5, 16, 31, 20_000] {
            let (a, b) = (random.floats(n), random.floats(n));
            let mut got = vec![f32::NAN; n];
            let run = |op: usize, got: &mut [f32]| match op {
                0 => kernels.add(&Serial, &a, &b, got),
                1 => kernels.sub(&Serial, &a, &b, got),
                2 => kernels.mul(&Serial, &a, &b, got),
                _ => kernels.div(&Serial, &a, &b, got),
            };
            let plain: [Both; 4] = [|a, b| a + b, |a, b| a - b, |a, b| a * b, |a, b| a / b];
            for (op, plain) in plain.into_iter().enumerate() {
                run(op, &mut got);
                let want: Vec<f32> = a.iter().zip(&b).map(|(&a, &b)| plain(a, b)).collect();
                assert_eq!(got, want, "operation {op} on {n}");
            }
        }
        let mut got = [0f32; 6];
        kernels.add_row(
            &Serial,
            &[1., 2., 3., 4., 5., 6.],
            &[10., 20., 30.],
            &mut got,
        );
        assert_eq!(got, [11., 22., 33., 14., 25., 36.]);
    });
}

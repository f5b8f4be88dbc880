//! Speed of the CPU kernels at SmolLM2-135M's and MiniLM's shapes, one thread, each instruction set:
//! `cargo bench -p fewbit-kernels --bench cpu_kernels`. Prints numbers, asserts none.

use std::time::{Duration, Instant};

use fewbit_kernels::element::{BlockFormat, ElementType};
use fewbit_kernels::threads::Serial;
use fewbit_kernels::{Activations, Attention, Isa, Kernels, PackedWeights, Strides};

/// How long each kernel is run; the fastest call counts, as others may use the machine.
const TIME: Duration = Duration::from_millis(300);

fn fastest(mut call: impl FnMut()) -> f64 {
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed() < TIME {
        let before = Instant::now();
        call();
        best = best.min(before.elapsed().as_secs_f64());
    }
    best
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect()
}

fn linear(kernels: Kernels, element: ElementType, n: usize, k: usize, m: usize) {
    let Some(bytes) = element.byte_len(&[n, k]) else {
        return;
    };
    let weights = match PackedWeights::pack(element, n, k, &vec![0x21; bytes]) {
        Ok(weights) => weights,
        Err(error) => return println!("{element} {n}×{k}: {error}"),
    };
    let (x, mut out) = (numbers(m * k), vec![0.0; m * n]);
    for activations in [Activations::Int8, Activations::Float] {
        if element.block().is_none() && activations == Activations::Int8 {
            continue;
        }
        let seconds = fastest(|| {
            kernels.linear(&Serial, &x, &weights, None, activations, &mut out);
        });
        println!(
            "  {element} {n}×{k}, {m} tokens, {activations:?}: {:.3} ms, {:.1} GOP/s, {:.1} GB/s",
            seconds * 1e3,
            (2 * m * n * k) as f64 / seconds / 1e9,
            bytes as f64 / seconds / 1e9
        );
    }
}

fn attention(kernels: Kernels, heads: usize, kv_heads: usize, dim: usize, tokens: usize) {
    let keys = 256;
    let (q, k) = (
        numbers(tokens * heads * dim),
        numbers(keys * kv_heads * dim),
    );
    let starts = [(keys - tokens) as i32];
    let q_strides = Strides::token_major(tokens, heads, dim);
    let kv_strides = Strides::head_major(kv_heads, keys, dim);
    let attention = Attention {
        batch: 1,
        tokens,
        heads,
        kv_heads,
        head_dim: dim,
        keys,
        q: &q,
        q_strides,
        k: &k,
        k_strides: kv_strides,
        v: &k,
        v_strides: kv_strides,
        lengths: None,
        causal: true,
        starts: Some(&starts),
        scale: 0.125,
        bias: None,
    };
    let mut out = vec![0.0; q.len()];
    let seconds = fastest(|| kernels.attention(&Serial, &attention, &mut out, q_strides));
    println!(
        "  attention of {tokens} tokens, {heads}/{kv_heads} heads of {dim}, {keys} keys: {:.3} ms, {:.1} GFLOP/s",
        seconds * 1e3,
        (4 * heads * dim * tokens * keys) as f64 / seconds / 1e9
    );
}

fn main() {
    for isa in Isa::available() {
        let Some(kernels) = Kernels::with(isa) else {
            continue;
        };
        println!("{}", isa.name());
        for m in [1, 128] {
            for format in [
                BlockFormat::Q4_1,
                BlockFormat::Q4_0,
                BlockFormat::Q8_0,
                BlockFormat::Q4K,
                BlockFormat::Q6K,
            ] {
                linear(kernels, format.into(), 576, 1536, m);
            }
            linear(kernels, ElementType::F32, 1536, 384, m);
            attention(kernels, 9, 3, 64, m);
        }
    }
}

// y[b, m, n] = a[b, m, k] · b[b, k, n] (+ bias[n]), any strides and any sizes, without barriers.
//
// One invocation makes a block of 4 × 4 outputs held in registers. Batch dimensions broadcast: `batch` gives up to
// four of them, with strides of both inputs (0 where one is broadcast). Grid: batches × ceil(m / 4) × ceil(n / 4), flat.
//
// Needs: nothing. A plain weight whose rows are no multiple of four elements comes here too (FORMAT f16 or bf16).
#include "index.wgsl"
struct Params {
  m: u32, n: u32, k: u32, batches: u32,
  a_row: u32, a_k: u32, b_k: u32, b_column: u32,
  batch: vec4<u32>, a_batch: vec4<u32>, b_batch: vec4<u32>,
  // Column of the output where this part begins, columns of the whole output.
  first: u32, columns: u32, pad0: u32, pad1: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
#if FORMAT == f32
@group(0) @binding(2) var<storage, read> b: array<f32>;
fn b_at(i: u32) -> f32 { return b[i]; }
#else
@group(0) @binding(2) var<storage, read> b: array<u32>;
#if FORMAT == f16
fn b_at(i: u32) -> f32 { return unpack2x16float(b[i >> 1u] >> ((i & 1u) * 16u)).x; }
#else
fn b_at(i: u32) -> f32 { return bitcast<f32>((b[i >> 1u] >> ((i & 1u) * 16u)) << 16u); }
#endif
#endif
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
#if BIAS
@group(0) @binding(4) var<storage, read> bias: array<f32>;
#endif

@compute @workgroup_size(${WG})
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = flat_index(gid, groups);
  let tiles_n = (p.n + 3u) / 4u;
  let tiles_m = (p.m + 3u) / 4u;
  let batch = i / (tiles_n * tiles_m);
  if (batch >= p.batches) {
    return;
  }
  let row = ((i / tiles_n) % tiles_m) * 4u;
  let column = (i % tiles_n) * 4u;
  var rest = batch;
  var a_base = 0u;
  var b_base = 0u;
#repeat d 4
  a_base += (rest % p.batch[${d}]) * p.a_batch[${d}];
  b_base += (rest % p.batch[${d}]) * p.b_batch[${d}];
  rest /= p.batch[${d}];
#end
#repeat j 4
  var a${j} = a_base + min(row + ${j}u, p.m - 1u) * p.a_row;
  var b${j} = b_base + min(column + ${j}u, p.n - 1u) * p.b_column;
  var acc${j} = vec4<f32>(0.0);
#end
  for (var k = 0u; k < p.k; k++) {
    let v = vec4<f32>(b_at(b0), b_at(b1), b_at(b2), b_at(b3));
#repeat j 4
    acc${j} += a[a${j}] * v;
    a${j} += p.a_k;
    b${j} += p.b_k;
#end
  }
#repeat r 4
  if (row + ${r}u < p.m) {
    let at = (batch * p.m + row + ${r}u) * p.columns + p.first + column;
#repeat c 4
    if (column + ${c}u < p.n) {
#if BIAS
      y[at + ${c}u] = acc${r}[${c}] + bias[p.first + column + ${c}u];
#else
      y[at + ${c}u] = acc${r}[${c}];
#endif
    }
#end
  }
#end
}

// y[m, n] = x[m, k] · w[n, k]ᵀ (+ bias[n]) (+ residual[m, n]) for few rows m, without barriers.
//
// One invocation makes ROWS neighbouring outputs of one row of x: invocations side by side read the same x,
// and each streams through its own weight rows. Grid: ceil(n / ROWS) × m, flat.
//
// Needs: k a multiple of 4 (plain weights) or of the block. No workgroup memory, no features.
#include "index.wgsl"
#include "linear_io.wgsl"

@compute @workgroup_size(${WG})
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = flat_index(gid, groups);
  let tiles = (p.n + ${ROWS}u - 1u) / ${ROWS}u;
  let row = i / tiles;
  if (row >= p.m) {
    return;
  }
  let column = (i - row * tiles) * ${ROWS}u;
#repeat r ROWS
  // Rows past the end repeat the last one and are not written.
  let n${r} = min(column + ${r}u, p.n - 1u);
  var acc${r} = vec4<f32>(0.0);
#end
  var xi = row * (p.k / 4u);
#if BLOCK
  let chunks = p.k / 32u;
  for (var c = 0u; c < chunks; c++) {
#repeat j 8
    let x${j} = x[xi + ${j}u];
#end
    let s0 = (x0 + x1) + (x2 + x3);
    let s1 = (x4 + x5) + (x6 + x7);
#repeat r ROWS
    {
      let w = chunk(n${r}, c);
      acc${r} += w.d0 * (w.q0 * x0 + w.q1 * x1 + w.q2 * x2 + w.q3 * x3)
        + w.d1 * (w.q4 * x4 + w.q5 * x5 + w.q6 * x6 + w.q7 * x7)
        + (w.m0 * s0 + w.m1 * s1);
    }
#end
    xi += 8u;
  }
#else
  for (var c = 0u; c < p.k / 4u; c++) {
    let x0 = x[xi];
#repeat r ROWS
    acc${r} += weights4(n${r}, c) * x0;
#end
    xi++;
  }
#endif
#repeat r ROWS
  if (column + ${r}u < p.n) {
    finish(row, column + ${r}u, (acc${r}.x + acc${r}.y) + (acc${r}.z + acc${r}.w));
  }
#end
}

// y[m, n] = x[m, k] · w[n, k]ᵀ (+ bias[n]) (+ residual[m, n]) for few rows m, on real GPUs.
//
// One workgroup makes ROWS neighbouring outputs of one row of x: its invocations walk the weight rows side by
// side, four weights each, and reduce at the end. Grid: ceil(n / ROWS) × m, flat.
//
// Needs: workgroup memory; k a multiple of 4 (plain weights) or of the block; subgroups in the variant SUBGROUPS.
#include "index.wgsl"
#include "linear_io.wgsl"
#include "reduce_workgroup.wgsl"

@compute @workgroup_size(${WG})
fn main(
#include "lanes.wgsl"
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
#if !SUBGROUPS
  let lane = 0u;
  let lanes = 1u;
#endif
  let i = flat_group(group, groups);
  let tiles = (p.n + ${ROWS}u - 1u) / ${ROWS}u;
  let row = i / tiles;
  // The grid's last row of workgroups may be too long; the whole workgroup leaves together.
  if (row >= p.m) {
    return;
  }
  let column = (i - row * tiles) * ${ROWS}u;
  let k4 = p.k / 4u;
  var acc = vec4<f32>(0.0);
#repeat r ROWS
  let n${r} = min(column + ${r}u, p.n - 1u);
#end
  for (var c = lid; c < k4; c += ${WG}u) {
    let a = x[row * k4 + c];
#repeat r ROWS
#if BLOCK
    acc[${r}] += dot(a, scaled(head(n${r}, c >> 3u), c & 7u));
#else
    acc[${r}] += dot(a, weights4(n${r}, c));
#endif
#end
  }
  let total = workgroup_sum(acc, lid, lane, lanes);
#repeat r ROWS
  if (lid == ${r}u && column + ${r}u < p.n) {
    finish(row, column + ${r}u, total[${r}]);
  }
#end
}

// y[m, n] = x[m, k] · w[n, k]ᵀ (+ bias[n]) (+ residual[m, n]) for many rows m, on real GPUs.
//
// One workgroup of 128 makes a tile of 32 rows × 64 columns: 32 elements of k at a time go through workgroup
// memory (weights unpacked there), and each invocation holds 4 × 4 sums. Grid: ceil(n / 64) × ceil(m / 32), flat.
//
// Needs: 12 KiB of workgroup memory (6 KiB with F16); k a multiple of 4 (plain weights) or of the block;
// shader-f16 in the variant F16, which multiplies in f16 and sums in f32.
#if F16
alias T = f16;
#else
alias T = f32;
#endif
#include "index.wgsl"
#include "linear_io.wgsl"

var<workgroup> tile_x: array<T, 1024>;
var<workgroup> tile_w: array<T, 2048>;

@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
  let i = flat_group(group, groups);
  let tiles = (p.n + 63u) / 64u;
  let row = (i / tiles) * 32u;
  if (row >= p.m) {
    return;
  }
  let column = (i % tiles) * 64u;
  let k4 = p.k / 4u;
  let my_row = (lid >> 4u) * 4u;
  let my_column = (lid & 15u) * 4u;
#repeat m 4
  var acc${m} = vec4<f32>(0.0);
#end
  for (var base = 0u; base < k4; base += 8u) {
    // 32 rows × 8 vectors of x, 64 rows × 8 vectors of w, kept k-major.
#repeat j 2
    {
      let at = lid + ${j}u * 128u;
      let r = at >> 3u;
      let c = at & 7u;
      var v = vec4<f32>(0.0);
      if (row + r < p.m && base + c < k4) {
        v = x[(row + r) * k4 + base + c];
      }
#repeat e 4
      tile_x[(c * 4u + ${e}u) * 32u + r] = T(v[${e}]);
#end
    }
#end
#repeat j 4
    {
      let at = lid + ${j}u * 128u;
      let r = at >> 3u;
      let c = at & 7u;
      var v = vec4<f32>(0.0);
      if (column + r < p.n && base + c < k4) {
#if BLOCK
        v = scaled(head(column + r, base >> 3u), c);
#else
        v = weights4(column + r, base + c);
#endif
      }
#repeat e 4
      tile_w[(c * 4u + ${e}u) * 64u + r] = T(v[${e}]);
#end
    }
#end
    workgroupBarrier();
    for (var k = 0u; k < 32u; k++) {
      let at = k * 64u + my_column;
      let b = vec4<T>(tile_w[at], tile_w[at + 1u], tile_w[at + 2u], tile_w[at + 3u]);
#repeat m 4
      acc${m} += vec4<f32>(tile_x[k * 32u + my_row + ${m}u] * b);
#end
    }
    workgroupBarrier();
  }
#repeat m 4
  if (row + my_row + ${m}u < p.m) {
#repeat n 4
    if (column + my_column + ${n}u < p.n) {
      finish(row + my_row + ${m}u, column + my_column + ${n}u, acc${m}[${n}]);
    }
#end
  }
#end
}

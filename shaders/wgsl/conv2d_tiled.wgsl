// y[n, o, i, j] = Σ filter[o, c, r, s] · x[n, first + c, i·stride + r·dilation − padding, …] (+ bias[o]), a workgroup
// together.
//
// The product of the filter (outputs × taps) with what the windows see (taps × places), which is gathered a tile at
// a time and never whole. A workgroup of 128 makes 32 outputs of 64 places, each invocation 4 × 4, 16 taps at a time
// through workgroup memory. Grid: batch × groups × ceil(outputs of a group / 32) × ceil(places / 64), flat.
//
// Needs: 6 KiB of workgroup memory.
#include "index.wgsl"
#include "conv2d_io.wgsl"

var<workgroup> left: array<f32, 512>;
var<workgroup> right: array<vec4<f32>, 256>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group_id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let g = flat_group(group_id, groups);
  let tiles_p = (p.places + 63u) / 64u;
  let tiles_o = (p.outputs + 31u) / 32u;
  // The same for the whole workgroup; a group past the end computes an image again and writes nothing.
  let beyond = g >= p.images * tiles_p * tiles_o;
  let image = min(g / (tiles_p * tiles_o), p.images - 1u);
  let first_place = (g % tiles_p) * 64u;
  let first_output = ((g / tiles_p) % tiles_o) * 32u;
  let group = image % p.groups;
  let window = p.rows * p.columns;
  let taps = p.channels * window;
  let base = image * p.channels * p.height * p.width;
  // This invocation's 4 outputs and 4 places of the tile.
  let own_o = (local / 16u) * 4u;
  let own_p = local % 16u;
  // What it gathers: places 4·(local % 16) …, taps local / 16 and 8 more.
#repeat j 4
  let origin${j} = origin(min(first_place + own_p * 4u + ${j}u, p.places - 1u));
  var acc${j} = vec4<f32>(0.0);
#end
  for (var tap0 = 0u; tap0 < taps; tap0 += 16u) {
#repeat half 4
    {
      let at_o = local / 16u + ${half}u * 8u;
      let tap = tap0 + local % 16u;
      let o = first_output + at_o;
      var w = 0.0;
      if (o < p.outputs && tap < taps) {
        w = filter_[(group * p.outputs + o) * taps + tap];
      }
      left[(local % 16u) * 32u + at_o] = w;
    }
#end
#repeat half 2
    {
      let at_tap = local / 16u + ${half}u * 8u;
      let tap = tap0 + at_tap;
      var v = vec4<f32>(0.0);
      if (tap < taps) {
        let rest = tap % window;
        let plane = base + (tap / window) * p.height * p.width;
        let shift = vec2<i32>(i32((rest / p.columns) * p.dilation_down), i32((rest % p.columns) * p.dilation_along));
        v = vec4<f32>(at(plane, origin0 + shift), at(plane, origin1 + shift), at(plane, origin2 + shift), at(plane, origin3 + shift));
      }
      right[at_tap * 16u + own_p] = v;
    }
#end
    workgroupBarrier();
    for (var t = 0u; t < 16u; t++) {
      let v = right[t * 16u + own_p];
#repeat o 4
      acc${o} += left[t * 32u + own_o + ${o}u] * v;
#end
    }
    workgroupBarrier();
  }
  if (beyond) {
    return;
  }
#repeat o 4
  if (first_output + own_o + ${o}u < p.outputs) {
    let o = first_output + own_o + ${o}u;
#if BIAS
    let b = bias[group * p.outputs + o];
#else
    let b = 0.0;
#endif
#repeat j 4
    {
      let place = first_place + own_p * 4u + ${j}u;
      if (place < p.places) {
        y[(image * p.outputs + o) * p.places + place] = acc${o}[${j}] + b;
      }
    }
#end
  }
#end
}

// y[n, o, i, j] = Σ filter[o, c, r, s] · x[n, first + c, i·stride + r·dilation − padding, …] (+ bias[o]), without barriers.
//
// One invocation makes 4 outputs of 4 neighbouring places (counted through the rows) in registers. Grid:
// batch × groups × ceil(outputs of a group / 4) × ceil(places / 4), flat, places fastest, so that invocations side by
// side read the same filter. Every window is read as it is: places outside of the image count as zero.
//
// Needs: nothing.
#include "index.wgsl"
#include "conv2d_io.wgsl"

@compute @workgroup_size(${WG})
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = flat_index(gid, groups);
  let tiles_p = (p.places + 3u) / 4u;
  let tiles_o = (p.outputs + 3u) / 4u;
  let image = i / (tiles_p * tiles_o);
  if (image >= p.images) {
    return;
  }
  let place = (i % tiles_p) * 4u;
  let output = ((i / tiles_p) % tiles_o) * 4u;
  let group = image % p.groups;
  let taps = p.channels * p.rows * p.columns;
  // Outputs and places past the end repeat the last one and are not written.
#repeat j 4
  let origin${j} = origin(min(place + ${j}u, p.places - 1u));
  var w${j} = (group * p.outputs + min(output + ${j}u, p.outputs - 1u)) * taps;
  var acc${j} = vec4<f32>(0.0);
#end
  var plane = image * p.channels * p.height * p.width;
  for (var c = 0u; c < p.channels; c++) {
    for (var r = 0u; r < p.rows; r++) {
      let down = i32(r * p.dilation_down);
      for (var s = 0u; s < p.columns; s++) {
        let tap = vec2<i32>(down, i32(s * p.dilation_along));
        let v = vec4<f32>(at(plane, origin0 + tap), at(plane, origin1 + tap), at(plane, origin2 + tap), at(plane, origin3 + tap));
#repeat j 4
        acc${j} += filter_[w${j}] * v;
        w${j}++;
#end
      }
    }
    plane += p.height * p.width;
  }
#repeat o 4
  if (output + ${o}u < p.outputs) {
    let channel = image * p.outputs + output + ${o}u;
#if BIAS
    let b = bias[group * p.outputs + output + ${o}u];
#else
    let b = 0.0;
#endif
#repeat j 4
    if (place + ${j}u < p.places) {
      y[channel * p.places + place + ${j}u] = acc${o}[${j}] + b;
    }
#end
  }
#end
}

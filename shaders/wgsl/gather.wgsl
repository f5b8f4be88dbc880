// y[o, n, i] = x[o, indices[n], i]: x [outer, axis, inner] in 4-byte elements of any type.
//
// Negative indices count from the end, others are clamped into the axis. One invocation makes one element. Needs: nothing.
#include "index.wgsl"
struct Params { outer: u32, axis: u32, inner: u32, count: u32, }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> indices: array<i32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(${WG})
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = flat_index(gid, groups);
  let outer = i / (p.count * p.inner);
  if (outer >= p.outer) {
    return;
  }
  var index = indices[(i / p.inner) % p.count];
  index = clamp(select(index, index + i32(p.axis), index < 0), 0, i32(p.axis) - 1);
  y[i] = x[(outer * p.axis + u32(index)) * p.inner + i % p.inner];
}

// y[start(n) + i] = update[n, i], or joined with what is there; start(n) = Σ indices[n, d] · stride[d] over d < depth.
// y holds what is written into already.
//
// Negative indices count from the end, others are clamped into their axis. One invocation writes one element; several
// may join one place, so that they take turns by compare-and-exchange, in any order. Needs: nothing.
#include "index.wgsl"
struct Params {
  count: u32, row: u32, depth: u32, pad0: u32,
  // Of the first dimensions of y, outermost first.
  size: array<vec4<u32>, 2>,
  stride: array<vec4<u32>, 2>,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<i32>;
@group(0) @binding(2) var<storage, read> updates: array<${ELEMENT}>;
#if JOINED
@group(0) @binding(3) var<storage, read_write> y: array<atomic<u32>>;
#else
@group(0) @binding(3) var<storage, read_write> y: array<${ELEMENT}>;
#endif
// WGSL's max and min may drop NaN, which is told by its bits.
fn greater(a: f32, b: f32) -> f32 {
  return keep(a, keep(b, max(a, b)));
}
fn lesser(a: f32, b: f32) -> f32 {
  return keep(a, keep(b, min(a, b)));
}
fn keep(x: f32, r: f32) -> f32 {
  return select(r, x, (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u);
}

@compute @workgroup_size(${WG})
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = flat_index(gid, groups);
  if (i >= p.count) {
    return;
  }
  let n = i / p.row;
  var at = i % p.row;
  for (var d = 0u; d < p.depth; d++) {
    let size = i32(p.size[d / 4u][d % 4u]);
    var index = indices[n * p.depth + d];
    index = clamp(select(index, index + size, index < 0), 0, size - 1);
    at += u32(index) * p.stride[d / 4u][d % 4u];
  }
  let v = updates[i];
#if JOINED
  loop {
    let old = atomicLoad(&y[at]);
    let r = bitcast<${ELEMENT}>(old);
    let changed = atomicCompareExchangeWeak(&y[at], old, bitcast<u32>(${JOIN}));
    if (changed.exchanged) {
      break;
    }
  }
#else
  y[at] = v;
#endif
}

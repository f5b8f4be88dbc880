// y[outer, a, inner] = Σ x[outer, b, inner] over b ≤ a (or b < a), or from the other end.
//
// One invocation goes along one line. Needs: nothing.
#include "index.wgsl"
struct Params {
  lines: u32, size: u32, inner: u32,
  // 1: without the element itself; from the end.
  exclusive: u32, reversed: u32, pad0: u32, pad1: u32, pad2: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<${ELEMENT}>;
@group(0) @binding(2) var<storage, read_write> y: array<${ELEMENT}>;

@compute @workgroup_size(${WG})
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = flat_index(gid, groups);
  if (i >= p.lines) {
    return;
  }
  let start = i / p.inner * p.size * p.inner + i % p.inner;
  var sum = ${ELEMENT}(0);
  for (var a = 0u; a < p.size; a++) {
    let at = start + select(a, p.size - 1u - a, p.reversed == 1u) * p.inner;
    let next = sum + x[at];
    y[at] = select(next, sum, p.exclusive == 1u);
    sum = next;
  }
}

// y[o, i] = finish(⊕ₙ map(x[o, n, i])) for x [outer, n, inner]: the reductions of the WebNN spec.
//
// One invocation makes one element. Needs: nothing.
#include "index.wgsl"
struct Params { outer: u32, n: u32, inner: u32, pad0: u32, }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<${ELEMENT}>;
@group(0) @binding(2) var<storage, read_write> y: array<${ELEMENT}>;

@compute @workgroup_size(${WG})
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = flat_index(gid, groups);
  let outer = i / p.inner;
  if (outer >= p.outer) {
    return;
  }
  let base = outer * p.n * p.inner + i % p.inner;
  let first = x[base];
#if KIND == log_sum_exp
  var most = first;
  for (var n = 1u; n < p.n; n++) {
    most = max(most, x[base + n * p.inner]);
  }
  var r = 0.0;
  for (var n = 0u; n < p.n; n++) {
    r += exp(x[base + n * p.inner] - most);
  }
  y[i] = log(r) + most;
#else
  var r = ${MAP};
  for (var n = 1u; n < p.n; n++) {
    let v = x[base + n * p.inner];
    r = ${JOIN};
  }
  y[i] = ${FINISH};
#endif
}

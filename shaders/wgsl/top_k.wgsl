// y[o, r, i] = the place on the axis of the element of x[o, :, i] that has r others before it, for r < k:
// those that are greater (or less), and equal ones at places before its own.
//
// One invocation counts for one element of x [outer, axis, inner] and writes its place if it is among the k. NaN is
// greater than all, by its bits. Needs: nothing.
#include "index.wgsl"
struct Params { lines: u32, axis: u32, inner: u32, k: u32, }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<${ELEMENT}>;
@group(0) @binding(2) var<storage, read_write> y: array<i32>;
// Integers that are in the order of the elements.
fn rank_of(at: u32) -> ${RANK} {
#if FLOAT
  let v = x[at];
  let bits = bitcast<i32>(v);
  let order = select(bits, bits ^ 0x7fffffff, bits < 0);
  let size = bits & 0x7fffffff;
  return select(select(order, 0x7fffffff, size > 0x7f800000), 0, size == 0);
#else
  return x[at];
#endif
}

@compute @workgroup_size(${WG})
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = flat_index(gid, groups);
  let line = i / p.axis;
  if (line >= p.lines) {
    return;
  }
  let place = i % p.axis;
  let start = line / p.inner * p.axis * p.inner + line % p.inner;
  let own = rank_of(start + place * p.inner);
  var before = 0u;
  for (var a = 0u; a < p.axis; a++) {
    let other = rank_of(start + a * p.inner);
    before += select(0u, 1u, other ${BEFORE} own || (other == own && a < place));
  }
  if (before < p.k) {
    y[line / p.inner * p.k * p.inner + line % p.inner + before * p.inner] = i32(place);
  }
}

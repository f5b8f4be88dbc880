// state[b, h, position[b] + t, :] = new[b, t, h, :]; what would fall beyond the capacity is not written.
//
// state [batch, heads, capacity, size], new [batch, tokens, heads, size], in vectors of four elements or one.
// One invocation writes one vector. Needs: nothing.
#include "index.wgsl"
struct Params {
  batch: u32, tokens: u32, heads: u32, size: u32,
  capacity: u32, pad0: u32, pad1: u32, pad2: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> fresh: array<${VECTOR}>;
@group(0) @binding(2) var<storage, read> position: array<i32>;
@group(0) @binding(3) var<storage, read_write> state: array<${VECTOR}>;

@compute @workgroup_size(${WG})
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = flat_index(gid, groups);
  let token = i / (p.size * p.heads);
  if (token >= p.batch * p.tokens) {
    return;
  }
  let e = i % p.size;
  let h = (i / p.size) % p.heads;
  let b = token / p.tokens;
  let at = u32(max(position[b], 0)) + token % p.tokens;
  if (at < p.capacity) {
    state[((b * p.heads + h) * p.capacity + at) * p.size + e] = fresh[i];
  }
}

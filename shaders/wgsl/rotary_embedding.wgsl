// Rotates pairs of the first `rotated` elements of each head by the angle of the token's position
// (Su et al. 2021): (a, b) → (a cos − b sin, b cos + a sin). The rest passes unchanged.
//
// x, y [batch, tokens, heads, size]; cos, sin [positions, rotated / 2], row position[b] + t (the last at most).
// Pairs are (2i, 2i + 1) if INTERLEAVED, else (i, i + rotated / 2). One invocation makes one element. Needs: nothing.
#include "index.wgsl"
struct Params {
  batch: u32, tokens: u32, heads: u32, size: u32,
  half: u32, positions: u32, pad0: u32, pad1: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> cosines: array<f32>;
@group(0) @binding(3) var<storage, read> sines: array<f32>;
@group(0) @binding(4) var<storage, read> position: array<i32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(${WG})
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = flat_index(gid, groups);
  let token = i / (p.size * p.heads);
  if (token >= p.batch * p.tokens) {
    return;
  }
  let e = i % p.size;
  if (e >= 2u * p.half) {
    y[i] = x[i];
    return;
  }
  let b = token / p.tokens;
  let at = min(u32(max(position[b], 0)) + token % p.tokens, p.positions - 1u) * p.half;
#if INTERLEAVED
  let pair = e >> 1u;
  let second = (e & 1u) == 1u;
  let partner = x[i - (e & 1u) + 1u - (e & 1u)];
#else
  let second = e >= p.half;
  let pair = select(e, e - p.half, second);
  let partner = x[select(i + p.half, i - p.half, second)];
#endif
  let c = cosines[at + pair];
  let s = sines[at + pair];
  y[i] = x[i] * c + select(-partner, partner, second) * s;
}

// y[row, :] = weight[row, :] in f32: a weight of a block format, f16 or bf16, decoded.
//
// A part of the weight holds rows `first` … . One invocation makes four elements (one, if k is no multiple of four).
// Needs: nothing.
#include "index.wgsl"
struct Params {
  rows: u32, k: u32, first: u32, pad0: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> weight: array<u32>;
#if BLOCK
#include "block_formats.wgsl"
#else
#if FORMAT == f32
fn element(i: u32) -> f32 { return bitcast<f32>(weight[i]); }
#endif
#if FORMAT == f16
fn element(i: u32) -> f32 { return unpack2x16float(weight[i >> 1u] >> ((i & 1u) * 16u)).x; }
#endif
#if FORMAT == bf16
fn element(i: u32) -> f32 { return bitcast<f32>((weight[i >> 1u] >> ((i & 1u) * 16u)) << 16u); }
#endif
#endif
@group(0) @binding(2) var<storage, read_write> y: array<${VECTOR}>;

@compute @workgroup_size(${WG})
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = flat_index(gid, groups);
#if VEC4
  let width = p.k / 4u;
#else
  let width = p.k;
#endif
  let row = i / width;
  if (row >= p.rows) {
    return;
  }
  let c = i - row * width;
  let at = (p.first + row) * width + c;
#if BLOCK
  y[at] = scaled(head(row, c >> 3u), c & 7u);
#else
#if VEC4
  y[at] = vec4<f32>(element(4u * i), element(4u * i + 1u), element(4u * i + 2u), element(4u * i + 3u));
#else
  y[at] = element(i);
#endif
#endif
}

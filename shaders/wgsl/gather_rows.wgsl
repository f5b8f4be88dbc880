// y[i, :] = table[indices[i], :] for a table of any weight format, decoded to f32.
//
// table [rows, k]; a part of it holds rows `first` … `first + part`, and a dispatch writes only what its part has.
// Negative indices count from the end, others are clamped into the table. One invocation makes four elements (one,
// if k is no multiple of four). Needs: nothing.
#include "index.wgsl"
struct Params {
  count: u32, k: u32, rows: u32, first: u32,
  part: u32, pad0: u32, pad1: u32, pad2: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> indices: array<i32>;
#if BLOCK
@group(0) @binding(2) var<storage, read> weight: array<u32>;
#include "block_formats.wgsl"
#endif
#if PLAIN
#if FORMAT == f32
@group(0) @binding(2) var<storage, read> weight: array<f32>;
fn element(i: u32) -> f32 { return weight[i]; }
#else
@group(0) @binding(2) var<storage, read> weight: array<u32>;
#if FORMAT == f16
fn element(i: u32) -> f32 { return unpack2x16float(weight[i >> 1u] >> ((i & 1u) * 16u)).x; }
#else
fn element(i: u32) -> f32 { return bitcast<f32>((weight[i >> 1u] >> ((i & 1u) * 16u)) << 16u); }
#endif
#endif
#endif
@group(0) @binding(3) var<storage, read_write> y: array<${VECTOR}>;

@compute @workgroup_size(${WG})
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = flat_index(gid, groups);
#if VEC4
  let width = p.k / 4u;
#else
  let width = p.k;
#endif
  let n = i / width;
  if (n >= p.count) {
    return;
  }
  let c = i - n * width;
  var index = indices[n];
  index = clamp(select(index, index + i32(p.rows), index < 0), 0, i32(p.rows) - 1);
  let row = u32(index) - p.first;
  if (u32(index) < p.first || row >= p.part) {
    return;
  }
#if BLOCK
  y[i] = scaled(head(row, c >> 3u), c & 7u);
#endif
#if PLAIN
#if VEC4
  let at = row * p.k + c * 4u;
  y[i] = vec4<f32>(element(at), element(at + 1u), element(at + 2u), element(at + 3u));
#else
  y[i] = element(row * p.k + c);
#endif
#endif
}

// What every linear kernel binds, and what it does with a finished element.
struct Params {
  // Rows of x; rows of this part of the weight; elements of a row.
  m: u32, n: u32, k: u32,
  // The output column of this part's first row, and the columns of the whole output.
  first: u32, columns: u32,
  pad0: u32, pad1: u32, pad2: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
#if BLOCK
@group(0) @binding(2) var<storage, read> weight: array<u32>;
#else
#if FORMAT == f32
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
#else
@group(0) @binding(2) var<storage, read> weight: array<vec2<u32>>;
#endif
#endif
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
#if BIAS
@group(0) @binding(4) var<storage, read> bias: array<f32>;
#endif
#if RESIDUAL
@group(0) @binding(5) var<storage, read> residual: array<f32>;
#endif

#if BLOCK
#include "block_formats.wgsl"
#else
#include "plain_weights.wgsl"
#endif

fn finish(row: u32, column: u32, sum: f32) {
  let j = p.first + column;
  let at = row * p.columns + j;
  var v = sum;
#if BIAS
  v += bias[j];
#endif
#if RESIDUAL
  v += residual[at];
#endif
  y[at] = v;
}

// y[i] = f(a[i], b[i], …): a chain of element-wise operators over inputs that broadcast to the output's shape.
//
// The body and the bindings are written by the assembling step from the chain; F is a vector of four elements where
// every input runs along or repeats in whole vectors, else one element. How an input is indexed: along with the output
// (i), one element for all (0), repeating with a period (i % period), each element repeated (i / period), or by strides.
// One invocation makes one F. Needs: nothing.
#include "index.wgsl"
#if VEC4
alias F = vec4<f32>;
alias U = vec4<u32>;
#else
alias F = f32;
alias U = u32;
#endif
struct Params {
  count: u32, pad0: u32, pad1: u32, pad2: u32,
  period: array<vec4<u32>, 2>,
  // Of the strided inputs: the output's sizes, innermost first, and each input's strides.
  size: array<vec4<u32>, 2>,
  stride: array<vec4<u32>, 16>,
}
@group(0) @binding(0) var<uniform> p: Params;
${BINDINGS}
fn strided(i: u32, input: u32) -> u32 {
  var rest = i;
  var at = 0u;
#repeat half 2
#repeat d 4
  at += (rest % p.size[${half}][${d}]) * p.stride[input * 2u + ${half}u][${d}];
  rest /= p.size[${half}][${d}];
#end
#end
  return at;
}
#include "math.wgsl"
#if CIRCLE
#include "circle.wgsl"
#endif

@compute @workgroup_size(${WG})
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = flat_index(gid, groups);
  if (i >= p.count) {
    return;
  }
${BODY}
}

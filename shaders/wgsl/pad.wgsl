// y = x with elements added before and after along up to eight dimensions, 4-byte elements: a constant, the nearest
// element, or the elements mirrored at the first and last.
//
// Dimensions are listed innermost first; unused ones have size 1. One invocation makes one element. Needs: nothing.
#include "index.wgsl"
struct Params {
  count: u32, fill: u32, pad0: u32, pad1: u32,
  size: array<vec4<u32>, 2>,
  before: array<vec4<u32>, 2>,
  out_size: array<vec4<u32>, 2>,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(${WG})
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = flat_index(gid, groups);
  if (i >= p.count) {
    return;
  }
  var rest = i;
  var source = 0u;
  var stride = 1u;
  var inside = true;
#repeat half 2
#repeat d 4
  {
    let size = i32(p.size[${half}][${d}]);
    let out_size = p.out_size[${half}][${d}];
    var at = i32(rest % out_size) - i32(p.before[${half}][${d}]);
    rest /= out_size;
    if (at < 0 || at >= size) {
#if MODE == constant
      inside = false;
      at = 0;
#endif
#if MODE == edge
      at = clamp(at, 0, size - 1);
#endif
#if MODE == reflection
      at = select(2 * (size - 1) - at, -at, at < 0);
#endif
    }
    source += u32(at) * stride;
    stride *= u32(size);
  }
#end
#end
  var v = p.fill;
  if (inside) {
    v = x[source];
  }
  y[i] = v;
}

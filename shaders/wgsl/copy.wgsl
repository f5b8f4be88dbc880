// y[place + Σ iₐ·place_strideₐ] = x[source + Σ iₐ·source_strideₐ] over a box of up to eight dimensions, 4-byte elements.
//
// What transpose, slice, expand and concat are. Dimensions are listed innermost first; unused ones have size 1.
// One invocation moves one element. Needs: nothing.
#include "index.wgsl"
struct Params {
  count: u32, source: u32, place: u32, pad0: u32,
  size: array<vec4<u32>, 2>,
  source_stride: array<vec4<u32>, 2>,
  place_stride: array<vec4<u32>, 2>,
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
  var source = p.source;
  var place = p.place;
#repeat half 2
#repeat d 4
  {
    let size = p.size[${half}][${d}];
    let at = rest % size;
    rest /= size;
    source += at * p.source_stride[${half}][${d}];
    place += at * p.place_stride[${half}][${d}];
  }
#end
#end
  y[place] = x[source];
}

// y[plane, i, j] = mean or maximum of what the window at i·stride − padding, j·stride − padding sees of x[plane];
// the padding is not counted.
//
// One invocation makes one element. Needs: nothing.
#include "index.wgsl"
struct Params {
  count: u32, height: u32, width: u32, out_height: u32,
  out_width: u32, rows: u32, columns: u32, pad0: u32,
  stride_down: u32, stride_along: u32, dilation_down: u32, dilation_along: u32,
  padding_top: u32, padding_left: u32, pad1: u32, pad2: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(${WG})
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = flat_index(gid, groups);
  if (i >= p.count) {
    return;
  }
  let column = i32((i % p.out_width) * p.stride_along) - i32(p.padding_left);
  let row = i32(((i / p.out_width) % p.out_height) * p.stride_down) - i32(p.padding_top);
  let plane = i / (p.out_width * p.out_height) * p.height * p.width;
#if AVERAGE
  var r = 0.0;
  var seen = 0.0;
#else
  var r = -3.4028234e38;
  var bits = 0xff800000u;
#endif
  for (var a = 0u; a < p.rows; a++) {
    let at_row = row + i32(a * p.dilation_down);
    if (at_row < 0 || at_row >= i32(p.height)) {
      continue;
    }
    for (var b = 0u; b < p.columns; b++) {
      let at_column = column + i32(b * p.dilation_along);
      if (at_column < 0 || at_column >= i32(p.width)) {
        continue;
      }
      let v = x[plane + u32(at_row) * p.width + u32(at_column)];
#if AVERAGE
      r += v;
      seen += 1.0;
#else
      // NaN, by its bits, stays; −∞ is kept as bits until something larger is seen.
      let v_bits = bitcast<u32>(v);
      let bits_nan = (bits & 0x7fffffffu) > 0x7f800000u;
      if (!bits_nan && ((v_bits & 0x7fffffffu) > 0x7f800000u || v > r || bits == 0xff800000u)) {
        r = v;
        bits = v_bits;
      }
#endif
    }
  }
#if AVERAGE
  y[i] = r / seen;
#else
  y[i] = bitcast<f32>(bits);
#endif
}

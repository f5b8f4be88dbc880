// What rms_normalization, layer_normalization and softmax share: rows × n, V elements (1 or 4) at a time.
struct Params {
  rows: u32,
  // Vectors in a row, and elements in it.
  n: u32, elements: u32,
  epsilon: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<${VECTOR}>;
@group(0) @binding(2) var<storage, read_write> y: array<${VECTOR}>;
#if SCALE
@group(0) @binding(3) var<storage, read> scale: array<${VECTOR}>;
#endif
#if BIAS
@group(0) @binding(4) var<storage, read> bias: array<${VECTOR}>;
#endif
#if ADDED
// x + added is what is normalized, and is written to `total` as well.
@group(0) @binding(5) var<storage, read> added: array<${VECTOR}>;
#if TOTAL
@group(0) @binding(6) var<storage, read_write> total: array<${VECTOR}>;
#endif
#endif

#if VEC4
fn sum_of(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }
fn most_of(v: vec4<f32>) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }
#else
fn sum_of(v: f32) -> f32 { return v; }
fn most_of(v: f32) -> f32 { return v; }
#endif

fn load(at: u32) -> ${VECTOR} {
#if ADDED
  return x[at] + added[at];
#else
  return x[at];
#endif
}
fn store(at: u32, i: u32, v: ${VECTOR}) {
  var r = v;
#if SCALE
  r *= scale[i];
#endif
#if BIAS
  r += bias[i];
#endif
  y[at] = r;
#if ADDED
#if TOTAL
  total[at] = load(at);
#endif
#endif
}

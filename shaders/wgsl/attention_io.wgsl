// What the attention kernels bind. V is a vector of four elements of a head, or one element.
struct Params {
  batch: u32, heads: u32, kv_heads: u32, tokens: u32,
  // Keys there is room for (a state's capacity).
  keys: u32,
  scale: f32,
  pad0: u32, pad1: u32,
  // Strides of the bias over [batch, heads, tokens, keys], 0 where it is broadcast.
  bias: vec4<u32>,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<${VECTOR}>;
@group(0) @binding(2) var<storage, read> k: array<${VECTOR}>;
@group(0) @binding(3) var<storage, read> v: array<${VECTOR}>;
@group(0) @binding(4) var<storage, read_write> y: array<${VECTOR}>;
#if CAUSAL
@group(0) @binding(5) var<storage, read> position: array<i32>;
#endif
#if BIAS
@group(0) @binding(6) var<storage, read> bias: array<f32>;
#endif

// The keys that token `t` of row `b` sees.
fn visible(b: u32, t: u32) -> u32 {
#if CAUSAL
  return min(u32(max(position[b], 0)) + t + 1u, p.keys);
#else
  return p.keys;
#endif
}
#if VEC4
fn inner(a: vec4<f32>, b: vec4<f32>) -> f32 { return dot(a, b); }
#else
fn inner(a: f32, b: f32) -> f32 { return a * b; }
#endif

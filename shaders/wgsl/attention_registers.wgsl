// y[b, t, h] = Σⱼ softmaxⱼ(scale · q[b, t, h] · k[b, h/g, j] + bias[b, h, t, j]) v[b, h/g, j], without barriers.
//
// q, y [batch, tokens, heads, size]; k, v [batch, kv_heads, keys, size]; g = heads / kv_heads query heads share
// a key head. Causal: token t of row b sees keys 0 ..= position[b] + t.
//
// One invocation makes one head of one token, and holds its query and output in registers (SIZE vectors): it goes
// once over the keys, four at a time, with a running maximum (Milakov & Gimelshein 2018). Invocations side by side
// are neighbouring tokens of one head, which read the same keys. Grid: batch × heads × tokens, flat. Needs: nothing.
#include "index.wgsl"
#include "attention_io.wgsl"

@compute @workgroup_size(${WG})
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = flat_index(gid, groups);
  if (i >= p.batch * p.heads * p.tokens) {
    return;
  }
  let t = i % p.tokens;
  let h = (i / p.tokens) % p.heads;
  let b = i / (p.tokens * p.heads);
  let at = ((b * p.tokens + t) * p.heads + h) * ${SIZE}u;
  let kv = (b * p.kv_heads + h / (p.heads / p.kv_heads)) * p.keys * ${SIZE}u;
#repeat d SIZE
  let q${d} = q[at + ${d}u] * p.scale;
  var o${d} = ${VECTOR}(0.0);
#end
  let count = visible(b, t);
#if BIAS
  let bias_at = b * p.bias[0] + h * p.bias[1] + t * p.bias[2];
#endif
  var most = -3.0e38;
  var sum = 0.0;
  for (var j = 0u; j < count; j += 4u) {
    // Keys past the end repeat the last one, with weight 0.
#repeat n 4
    let j${n} = min(j + ${n}u, count - 1u);
    let k${n} = kv + j${n} * ${SIZE}u;
    var s${n} = 0.0;
#end
#repeat d SIZE
    s0 += inner(q${d}, k[k0 + ${d}u]);
    s1 += inner(q${d}, k[k1 + ${d}u]);
    s2 += inner(q${d}, k[k2 + ${d}u]);
    s3 += inner(q${d}, k[k3 + ${d}u]);
#end
#if BIAS
    s0 += bias[bias_at + j0 * p.bias[3]];
    s1 += bias[bias_at + j1 * p.bias[3]];
    s2 += bias[bias_at + j2 * p.bias[3]];
    s3 += bias[bias_at + j3 * p.bias[3]];
#endif
    let s = vec4<f32>(s0, s1, s2, s3);
    let new_most = max(most, max(max(s0, s1), max(s2, s3)));
    let keep = exp(max(most - new_most, -100.0));
    let w = select(exp(max(s - new_most, vec4<f32>(-100.0))), vec4<f32>(0.0),
      vec4<u32>(j, j + 1u, j + 2u, j + 3u) >= vec4<u32>(count));
    most = new_most;
    sum = sum * keep + ((w.x + w.y) + (w.z + w.w));
#repeat d SIZE
    o${d} = o${d} * keep + v[k0 + ${d}u] * w.x + v[k1 + ${d}u] * w.y + v[k2 + ${d}u] * w.z + v[k3 + ${d}u] * w.w;
#end
  }
#repeat d SIZE
  y[at + ${d}u] = o${d} / sum;
#end
}

// y[b, t, h] = Σⱼ softmaxⱼ(scale · q[b, t, h] · k[b, h/g, j] + bias[b, h, t, j]) v[b, h/g, j], on real GPUs.
//
// Shapes as in attention_registers.wgsl. One workgroup of WG makes one head of one token: it goes over the keys
// in tiles of WG, of which each invocation scores one; then the invocations take an element of the output each
// and add up the tile's values. Grid: batch × heads × tokens, flat.
// Needs: workgroup memory; subgroups in the variant SUBGROUPS.
#include "index.wgsl"
#include "attention_io.wgsl"
#include "reduce_workgroup.wgsl"
var<workgroup> query: array<${VECTOR}, ${SIZE}>;
var<workgroup> weights: array<f32, ${WG}>;

@compute @workgroup_size(${WG})
fn main(
#include "lanes.wgsl"
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
) {
#if !SUBGROUPS
  let lane = 0u;
  let lanes = 1u;
#endif
  let i = flat_group(group, groups);
  if (i >= p.batch * p.heads * p.tokens) {
    return;
  }
  let t = i % p.tokens;
  let h = (i / p.tokens) % p.heads;
  let b = i / (p.tokens * p.heads);
  let at = ((b * p.tokens + t) * p.heads + h) * ${SIZE}u;
  let kv = (b * p.kv_heads + h / (p.heads / p.kv_heads)) * p.keys * ${SIZE}u;
  for (var d = lid; d < ${SIZE}u; d += ${WG}u) {
    query[d] = q[at + d] * p.scale;
  }
#repeat o OUTPUTS
  var o${o} = ${VECTOR}(0.0);
#end
  let count = visible(b, t);
  var most = -3.0e38;
  var sum = 0.0;
  workgroupBarrier();
  for (var base = 0u; base < count; base += ${WG}u) {
    let j = base + lid;
    var s = -3.0e38;
    if (j < count) {
      s = 0.0;
      for (var d = 0u; d < ${SIZE}u; d++) {
        s += inner(query[d], k[kv + j * ${SIZE}u + d]);
      }
#if BIAS
      s += bias[b * p.bias[0] + h * p.bias[1] + t * p.bias[2] + j * p.bias[3]];
#endif
    }
    let new_most = max(most, workgroup_max(s, lid, lane, lanes));
    let keep = exp(max(most - new_most, -100.0));
    let w = select(0.0, exp(max(s - new_most, -100.0)), j < count);
    most = new_most;
    weights[lid] = w;
    // Its barriers also make `weights` visible.
    sum = sum * keep + workgroup_sum(w, lid, lane, lanes);
    let tile = min(count - base, ${WG}u);
#repeat o OUTPUTS
    o${o} *= keep;
    if (lid + ${o}u * ${WG}u < ${SIZE}u) {
      for (var n = 0u; n < tile; n++) {
        o${o} += weights[n] * v[kv + (base + n) * ${SIZE}u + lid + ${o}u * ${WG}u];
      }
    }
#end
    workgroupBarrier();
  }
#repeat o OUTPUTS
  if (lid + ${o}u * ${WG}u < ${SIZE}u) {
    y[at + lid + ${o}u * ${WG}u] = o${o} / sum;
  }
#end
}

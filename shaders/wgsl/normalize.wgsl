// Over each row of n elements (the last dimensions):
//
//   rms:     y = x / sqrt(mean(x²) + ε) · scale
//   layer:   y = (x − mean(x)) / sqrt(var(x) + ε) · scale + bias
//   softmax: y = exp(x − max(x)) / Σ exp(x − max(x))
//
// Barrier-free: one invocation a row. Otherwise: one workgroup a row, reduced in workgroup memory.
// Needs: nothing (barrier-free); workgroup memory; subgroups in the variant SUBGROUPS.
#include "index.wgsl"
#include "normalize_io.wgsl"
#if !BARRIER_FREE
#include "reduce_workgroup.wgsl"
#endif

@compute @workgroup_size(${WG})
fn main(
#if BARRIER_FREE
  @builtin(global_invocation_id) gid: vec3<u32>,
#else
#include "lanes.wgsl"
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lid: u32,
#endif
  @builtin(num_workgroups) groups: vec3<u32>,
) {
#if BARRIER_FREE
  let row = flat_index(gid, groups);
  let begin = 0u;
  let step = 1u;
#else
#if !SUBGROUPS
  let lane = 0u;
  let lanes = 1u;
#endif
  let row = flat_group(group, groups);
  let begin = lid;
  let step = ${WG}u;
#endif
  if (row >= p.rows) {
    return;
  }
  let base = row * p.n;
#if KIND == rms
  var squares = ${VECTOR}(0.0);
  for (var i = begin; i < p.n; i += step) {
    let v = load(base + i);
    squares += v * v;
  }
#if BARRIER_FREE
  let square = sum_of(squares);
#else
  let square = workgroup_sum(sum_of(squares), lid, lane, lanes);
#endif
  let factor = 1.0 / sqrt(square / f32(p.elements) + p.epsilon);
  for (var i = begin; i < p.n; i += step) {
    store(base + i, i, load(base + i) * factor);
  }
#endif
#if KIND == layer
  var sums = ${VECTOR}(0.0);
  for (var i = begin; i < p.n; i += step) {
    sums += load(base + i);
  }
#if BARRIER_FREE
  let mean = sum_of(sums) / f32(p.elements);
#else
  let mean = workgroup_sum(sum_of(sums), lid, lane, lanes) / f32(p.elements);
#endif
  // Squares of what is left after the mean: two passes lose less than E[x²] − E[x]².
  var squares = ${VECTOR}(0.0);
  for (var i = begin; i < p.n; i += step) {
    let v = load(base + i) - mean;
    squares += v * v;
  }
#if BARRIER_FREE
  let square = sum_of(squares);
#else
  let square = workgroup_sum(sum_of(squares), lid, lane, lanes);
#endif
  let factor = 1.0 / sqrt(square / f32(p.elements) + p.epsilon);
  for (var i = begin; i < p.n; i += step) {
    store(base + i, i, (load(base + i) - mean) * factor);
  }
#endif
#if KIND == softmax
  var highest = ${VECTOR}(-3.4028234e38);
  for (var i = begin; i < p.n; i += step) {
    highest = max(highest, load(base + i));
  }
#if BARRIER_FREE
  let most = most_of(highest);
#else
  let most = workgroup_max(most_of(highest), lid, lane, lanes);
#endif
  var sums = ${VECTOR}(0.0);
  for (var i = begin; i < p.n; i += step) {
    sums += exp(load(base + i) - most);
  }
#if BARRIER_FREE
  let sum = sum_of(sums);
#else
  let sum = workgroup_sum(sum_of(sums), lid, lane, lanes);
#endif
  for (var i = begin; i < p.n; i += step) {
    store(base + i, i, exp(load(base + i) - most) / sum);
  }
#endif
}

// Sums and maxima over a workgroup of WG invocations, to every invocation.
//
// With subgroups: the first lane of each subgroup writes its value at its own place and every other lane the
// neutral element; then every subgroup reduces the whole array by itself. That takes one pass through workgroup
// memory and holds however a device numbers its subgroups.
var<workgroup> shared_values: array<${REDUCED}, ${WG}>;

#if SUBGROUPS
fn workgroup_sum(value: ${REDUCED}, lid: u32, lane: u32, lanes: u32) -> ${REDUCED} {
  let sum = subgroupAdd(value);
  shared_values[lid] = select(${REDUCED}(0.0), sum, lane == 0u);
  workgroupBarrier();
  var part = ${REDUCED}(0.0);
  for (var i = lane; i < ${WG}u; i += lanes) {
    part += shared_values[i];
  }
  workgroupBarrier();
  return subgroupAdd(part);
}
fn workgroup_max(value: ${REDUCED}, lid: u32, lane: u32, lanes: u32) -> ${REDUCED} {
  shared_values[lid] = value;
  workgroupBarrier();
  var most = value;
  for (var i = lane; i < ${WG}u; i += lanes) {
    most = max(most, shared_values[i]);
  }
  workgroupBarrier();
  return subgroupMax(most);
}
#else
fn workgroup_sum(value: ${REDUCED}, lid: u32, lane: u32, lanes: u32) -> ${REDUCED} {
  shared_values[lid] = value;
  workgroupBarrier();
  for (var step = ${WG}u / 2u; step > 0u; step >>= 1u) {
    if (lid < step) {
      shared_values[lid] += shared_values[lid + step];
    }
    workgroupBarrier();
  }
  let total = shared_values[0];
  workgroupBarrier();
  return total;
}
fn workgroup_max(value: ${REDUCED}, lid: u32, lane: u32, lanes: u32) -> ${REDUCED} {
  shared_values[lid] = value;
  workgroupBarrier();
  for (var step = ${WG}u / 2u; step > 0u; step >>= 1u) {
    if (lid < step) {
      shared_values[lid] = max(shared_values[lid], shared_values[lid + step]);
    }
    workgroupBarrier();
  }
  let most = shared_values[0];
  workgroupBarrier();
  return most;
}
#endif

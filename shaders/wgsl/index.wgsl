// Where an invocation finds itself: kernels are one-dimensional, and a grid of more than 65,535
// workgroups is folded into two dimensions.
fn flat_index(gid: vec3<u32>, groups: vec3<u32>) -> u32 {
  return gid.x + gid.y * groups.x * ${WG}u;
}
fn flat_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
  return group.x + group.y * groups.x;
}

// The builtins of a kernel that works in whole workgroups; without subgroups every invocation is its own.
#if SUBGROUPS
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(subgroup_size) lanes: u32,
#endif

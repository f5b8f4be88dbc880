// Plain weights in rows of p.k, a multiple of four: `weights4(row, i)` is weights 4i … 4i+3 of a row.
#if FORMAT == f32
fn weights4(row: u32, i: u32) -> vec4<f32> {
  return weight[row * (p.k / 4u) + i];
}
#endif
#if FORMAT == f16
fn weights4(row: u32, i: u32) -> vec4<f32> {
  let w = weight[row * (p.k / 4u) + i];
  return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y));
}
#endif
#if FORMAT == bf16
fn weights4(row: u32, i: u32) -> vec4<f32> {
  let w = weight[row * (p.k / 4u) + i];
  return bitcast<vec4<f32>>(vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u));
}
#endif

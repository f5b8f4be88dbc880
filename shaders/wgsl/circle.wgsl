// Sine, cosine and tangent: the built-in ones hold to 2⁻¹¹ between −π and π only, and large arguments give anything.
fn high_word(a: u32, b: u32) -> u32 {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let across = (a & 0xffffu) * (b >> 16u);
  let middle = (low >> 16u) + (a >> 16u) * (b & 0xffffu) + (across & 0xffffu);
  return (a >> 16u) * (b >> 16u) + (across >> 16u) + (middle >> 16u);
}
// Sine and cosine. Payne & Hanek 1983: a large argument is an integer times a power of two, and of the bits of 2 / π only
// those count that make neither whole turns nor less than the last bit.
fn circle(x: f32) -> vec2<f32> {
  let a = bitcast<u32>(x) & 0x7fffffffu;
  var quarter = 0u;
  var r = bitcast<f32>(a);
  if (a >= 0x3f490fdbu) {
    var bits = array<u32, 8>(0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu);
    let place = (a >> 23u) - 120u;
    let i = place >> 5u;
    let s = place & 31u;
    let top = (bits[i] << s) | ((bits[i + 1u] >> 1u) >> (31u - s));
    let middle = (bits[i + 1u] << s) | ((bits[i + 2u] >> 1u) >> (31u - s));
    let last = (bits[i + 2u] << s) | ((bits[i + 3u] >> 1u) >> (31u - s));
    let m = (a & 0x7fffffu) | 0x800000u;
    var low = m * middle + high_word(m, last);
    var high = m * top + high_word(m, middle) + select(0u, 1u, low < m * middle);
    quarter = (high + 0x20000000u) >> 30u;
    high -= quarter << 30u;
    let negative = (high >> 31u) == 1u;
    low = select(low, 0u - low, negative);
    high = select(high, select(~high, 0u - high, low == 0u), negative);
    r = (f32(high) * 4294967296.0 + f32(low)) * 3.4061216e-19;
    r = select(r, -r, negative);
  }
  let q = r * r;
  let sine = r + r * q * (-0.16666655 + q * (0.0083321609 + q * -0.00019515296));
  let cosine = 1.0 - 0.5 * q + q * q * (0.041666646 + q * (-0.0013887316 + q * 0.000024433157));
  var both = select(vec2<f32>(sine, cosine), vec2<f32>(cosine, sine), (quarter & 1u) == 1u);
  both.x = select(both.x, -both.x, (quarter >= 2u) != (x < 0.0));
  both.y = select(both.y, -both.y, quarter == 1u || quarter == 2u);
  // Of a small angle, as of −0, the sine is the angle.
  both.x = select(both.x, x, a < 0x39000000u);
  let none = bitcast<f32>((a & 0u) | 0x7fc00000u);
  return select(both, vec2<f32>(none), a >= 0x7f800000u);
}
fn tangent(x: f32) -> f32 {
  let both = circle(x);
  return both.x / both.y;
}
#if VEC4
fn f_sin(x: F) -> F {
  return F(circle(x.x).x, circle(x.y).x, circle(x.z).x, circle(x.w).x);
}
fn f_cos(x: F) -> F {
  return F(circle(x.x).y, circle(x.y).y, circle(x.z).y, circle(x.w).y);
}
fn f_tan(x: F) -> F {
  return F(tangent(x.x), tangent(x.y), tangent(x.z), tangent(x.w));
}
#else
fn f_sin(x: F) -> F {
  return circle(x).x;
}
fn f_cos(x: F) -> F {
  return circle(x).y;
}
fn f_tan(x: F) -> F {
  return tangent(x);
}
#endif

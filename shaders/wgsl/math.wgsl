// Element-wise functions over F. WGSL is not IEEE: devices may assume that there are no NaNs and infinities, and
// some give NaN for tanh of a large argument; so NaN is told by its bits and arguments are clamped.
fn pass_nan(x: F, r: F) -> F {
  return select(r, x, (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u));
}
// Bits of an infinity or NaN; through x, since a constant one is an error in WGSL.
fn special(x: F, bits: u32) -> F {
  return bitcast<F>((bitcast<U>(x) & U(0u)) | U(bits));
}
fn f_exp(x: F) -> F {
  return pass_nan(x, select(exp(min(x, F(88.72283))), special(x, 0x7f800000u), x > F(88.72283)));
}
fn f_tanh(x: F) -> F {
  return pass_nan(x, tanh(clamp(x, F(-10.0), F(10.0))));
}
fn f_sigmoid(x: F) -> F {
  return pass_nan(x, F(1.0) / (F(1.0) + exp(-clamp(x, F(-88.0), F(88.0)))));
}
fn f_silu(x: F) -> F {
  return x * f_sigmoid(x);
}
// Abramowitz & Stegun 7.1.26; absolute error 1.5e-7.
fn f_erf(x: F) -> F {
  let a = min(abs(x), F(10.0));
  let t = F(1.0) / (F(1.0) + F(0.3275911) * a);
  let series = ((((F(1.061405429) * t - F(1.453152027)) * t + F(1.421413741)) * t - F(0.284496736)) * t + F(0.254829592)) * t;
  return pass_nan(x, sign(x) * (F(1.0) - series * exp(-a * a)));
}
fn f_gelu(x: F) -> F {
  return F(0.5) * x * (F(1.0) + f_erf(x * F(0.70710678)));
}
fn f_relu(x: F) -> F {
  return pass_nan(x, max(x, F(0.0)));
}
fn f_clamp(x: F, low: F, high: F) -> F {
  return pass_nan(x, min(max(x, low), high));
}
fn f_max(a: F, b: F) -> F {
  return pass_nan(b, pass_nan(a, max(a, b)));
}
fn f_min(a: F, b: F) -> F {
  return pass_nan(b, pass_nan(a, min(a, b)));
}
// The nearest f16 number. The built-in may take subnormal ones to 0, and what is beyond the range anywhere.
fn f_half(x: F) -> F {
  let a = abs(x);
  let r = select(quantizeToF16(x), round(x * F(16777216.0)) * F(5.9604645e-8), a < F(6.1035156e-5));
  let infinity = bitcast<F>(bitcast<U>(special(x, 0x7f800000u)) | (bitcast<U>(x) & U(0x80000000u)));
  return select(r, infinity, a >= F(65520.0));
}
fn f_log(x: F) -> F {
  let r = select(log(x), special(x, 0x7fc00000u), x < F(0.0));
  let infinite = bitcast<U>(x) == U(0x7f800000u);
  return pass_nan(x, select(select(r, special(x, 0xff800000u), x == F(0.0)), x, infinite));
}
fn two_to(n: F) -> F {
  return bitcast<F>(U(n + F(127.0)) << U(23u));
}
// |x|^y as 2^(y·log2|x|), since the built-in one is off by dozens of units: log2 of the exponent and of the fraction by
// themselves, and of y the part whose product with the exponent is exact.
fn f_power(a: F, y: F) -> F {
  let bits = bitcast<U>(a);
  var e = F(bits >> U(23u)) - F(127.0);
  var m = bitcast<F>((bits & U(0x7fffffu)) | U(0x3f800000u));
  let upper = m > F(1.4142135);
  m = select(m, m * F(0.5), upper);
  e = select(e, e + F(1.0), upper);
  let s = (m - F(1.0)) / (m + F(1.0));
  let q = s * s;
  let l = s * (F(2.8853901) + q * (F(0.96179669) + q * (F(0.57707802) + q * (F(0.41219858) + q * F(0.3205989)))));
  let head = bitcast<F>(bitcast<U>(y) & U(0xfffff000u));
  let whole = clamp(head * e, F(-1e6), F(1e6));
  let k = round(whole);
  let rest = (whole - k) + clamp((y - head) * e + y * l, F(-1e6), F(1e6));
  let more = round(rest);
  let n = clamp(k + more, F(-252.0), F(252.0));
  let half_n = floor(n * F(0.5));
  return exp2(rest - more) * two_to(half_n) * two_to(n - half_n);
}
// Small whole and half exponents by products; else by the power of the magnitude, with the sign of an odd whole exponent.
fn f_pow(x: F, y: F) -> F {
  let a = abs(x);
  let infinity = special(x, 0x7f800000u);
  let wide = bitcast<U>(a) == U(0x7f800000u);
  let far = (bitcast<U>(y) & U(0x7fffffffu)) == U(0x7f800000u);
  var magnitude = f_power(a, y);
  magnitude = select(magnitude, select(infinity, F(0.0), y > F(0.0)), (a == F(0.0)) | (far & (a < F(1.0))));
  magnitude = select(magnitude, select(F(0.0), infinity, y > F(0.0)), wide | (far & (a > F(1.0))));
  magnitude = select(magnitude, F(1.0), a == F(1.0));
  let odd = abs(y - F(2.0) * floor(y * F(0.5))) == F(1.0);
  var r = select(magnitude, -magnitude, (x < F(0.0)) & odd & !far);
  r = select(r, special(x, 0x7fc00000u), (x < F(0.0)) & (floor(y) != y) & !wide & !far);
  r = select(r, sqrt(abs(x)), (y == F(0.5)) & (x >= F(0.0)));
  r = select(r, F(1.0) / x, y == F(-1.0));
  r = select(r, x * x * x, y == F(3.0));
  r = select(r, x * x, y == F(2.0));
  r = select(r, x, y == F(1.0));
  return select(pass_nan(y, pass_nan(x, r)), F(1.0), y == F(0.0));
}
// Wraps. A power of a negative exponent is what is left of the fraction: 0, but of 1 and −1.
fn u_pow(x: u32, y: u32) -> u32 {
  var r = 1u;
  var square = x;
  for (var n = y; n != 0u; n >>= 1u) {
    r = select(r, r * square, (n & 1u) == 1u);
    square *= square;
  }
  return r;
}
fn i_pow(x: i32, y: i32) -> i32 {
  let r = bitcast<i32>(u_pow(bitcast<u32>(x), bitcast<u32>(y)));
  return select(r, 0, y < 0 && x != 1 && x != -1);
}

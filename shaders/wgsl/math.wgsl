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
// Small whole and half exponents by products; else by pow of the magnitude, with the sign of an odd whole exponent.
fn f_pow(x: F, y: F) -> F {
  let magnitude = pow(abs(x), y);
  let odd = abs(y - F(2.0) * floor(y * F(0.5))) == F(1.0);
  var r = select(magnitude, -magnitude, (x < F(0.0)) & odd);
  r = select(r, special(x, 0x7fc00000u), (x < F(0.0)) & (floor(y) != y));
  r = select(r, sqrt(abs(x)), (y == F(0.5)) & (x >= F(0.0)));
  r = select(r, F(1.0) / x, y == F(-1.0));
  r = select(r, x * x * x, y == F(3.0));
  r = select(r, x * x, y == F(2.0));
  r = select(r, x, y == F(1.0));
  return select(r, F(1.0), y == F(0.0));
}

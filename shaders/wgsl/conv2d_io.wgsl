// What convolutions bind, and the elements that their windows see.
struct Params {
  // Groups of all images; outputs and channels of one group.
  images: u32, groups: u32, outputs: u32, channels: u32,
  // The image; the window.
  height: u32, width: u32, rows: u32, columns: u32,
  // Places of an output, and of a row of it.
  places: u32, out_width: u32,
  stride_down: u32, stride_along: u32,
  dilation_down: u32, dilation_along: u32,
  padding_top: u32, padding_left: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> filter_: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
#if BIAS
@group(0) @binding(4) var<storage, read> bias: array<f32>;
#endif

// Where the window of a place begins in the image; negative in the padding.
fn origin(place: u32) -> vec2<i32> {
  let row = place / p.out_width;
  let column = place % p.out_width;
  return vec2<i32>(i32(row * p.stride_down) - i32(p.padding_top), i32(column * p.stride_along) - i32(p.padding_left));
}

// The image's element there, 0 outside.
fn at(plane: u32, place: vec2<i32>) -> f32 {
  if (place.x < 0 || place.y < 0 || place.x >= i32(p.height) || place.y >= i32(p.width)) {
    return 0.0;
  }
  return x[plane + u32(place.x) * p.width + u32(place.y)];
}

// Block formats, GGUF's and ours with zero points, read from the file's own bytes: `weight` is an array of u32 words, and a block
// that starts in the middle of a word (all offsets are even) is shifted out of two neighbours.
//
// A row is cut into chunks of 32 weights. Weight i of a chunk is
//
//   d0 * q[i] + m0 for i < 16,   d1 * q[i] + m1 for i >= 16
//
// - `head(row, c)`: the scales of chunk c of a row and where its quants lie;
// - `quad(h, g)`: raw quants 4g … 4g+3 of the chunk, g < 8 not known beforehand;
// - `chunk(row, c)`: the whole chunk, each word read once; q0 … q7 hold four quants each.
//
// Needs: `p.k`, the weights in a row, a whole number of blocks.

struct Head {
  d0: f32, m0: f32, d1: f32, m1: f32,
  // Byte offset of the block (word offset of one with a zero point), and which chunk of the block this is.
  at: u32, sub: u32,
}
struct Chunk {
  d0: f32, m0: f32, d1: f32, m1: f32,
  q0: vec4<f32>, q1: vec4<f32>, q2: vec4<f32>, q3: vec4<f32>,
  q4: vec4<f32>, q5: vec4<f32>, q6: vec4<f32>, q7: vec4<f32>,
}

// Two bytes at an even offset, as f16.
fn half_at(byte: u32) -> f32 {
  return unpack2x16float(weight[byte >> 2u] >> ((byte & 2u) * 8u)).x;
}
fn byte_at(byte: u32) -> u32 {
  return (weight[byte >> 2u] >> ((byte & 3u) * 8u)) & 255u;
}
// The upper part of `lo` and the lower part of `hi`; shift is 0 or 16.
fn funnel(lo: u32, hi: u32, shift: u32) -> u32 {
  return (lo >> shift) | ((hi << 1u) << (31u - shift));
}
// Four bytes at an even offset.
fn word_at(byte: u32) -> u32 {
  let at = byte >> 2u;
  return funnel(weight[at], weight[at + 1u], (byte & 2u) * 8u);
}
// Bits shift … of each of four bytes, under a mask.
fn fields(word: u32, shift: u32, mask: u32) -> vec4<u32> {
  return (vec4<u32>(word) >> (vec4<u32>(0u, 8u, 16u, 24u) + shift)) & vec4<u32>(mask);
}
fn low_nibbles(word: u32) -> vec4<f32> {
  return vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u));
}
fn high_nibbles(word: u32) -> vec4<f32> {
  return vec4<f32>((vec4<u32>(word) >> vec4<u32>(4u, 12u, 20u, 28u)) & vec4<u32>(15u));
}
// Four signed bytes.
fn signed_bytes(word: u32) -> vec4<f32> {
  return vec4<f32>((vec4<i32>(bitcast<i32>(word)) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}
// One bit each of four neighbours, as 16 or 0.
fn fifth_bits(bits: u32) -> vec4<u32> {
  return ((vec4<u32>(bits) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u)) << vec4<u32>(4u);
}

#if FORMAT == q4_0
// d: f16, 16 bytes of nibbles; (q - 8) d. 18 bytes.
fn head(row: u32, c: u32) -> Head {
  let at = (row * (p.k / 32u) + c) * 18u;
  let d = half_at(at);
  return Head(d, -8.0 * d, d, -8.0 * d, at, 0u);
}
fn quad(h: Head, g: u32) -> vec4<f32> {
  return vec4<f32>(fields(word_at(h.at + 2u + (g & 3u) * 4u), (g >> 2u) * 4u, 15u));
}
fn chunk(row: u32, c: u32) -> Chunk {
  let at = (row * (p.k / 32u) + c) * 18u;
  let i = at >> 2u;
  let w0 = weight[i]; let w1 = weight[i + 1u]; let w2 = weight[i + 2u];
  let w3 = weight[i + 3u]; let w4 = weight[i + 4u];
  // The block begins at a word or two bytes into it; its quants then begin two bytes in, or at the next.
  let odd = (at & 2u) != 0u;
  let d = unpack2x16float(select(w0, w0 >> 16u, odd)).x;
  let a = select((w0 >> 16u) | (w1 << 16u), w1, odd);
  let b = select((w1 >> 16u) | (w2 << 16u), w2, odd);
  let e = select((w2 >> 16u) | (w3 << 16u), w3, odd);
  let f = select((w3 >> 16u) | (w4 << 16u), w4, odd);
  return Chunk(d, -8.0 * d, d, -8.0 * d,
    low_nibbles(a), low_nibbles(b), low_nibbles(e), low_nibbles(f),
    high_nibbles(a), high_nibbles(b), high_nibbles(e), high_nibbles(f));
}
#endif

#if FORMAT == q4_1
// d, m: f16, 16 bytes of nibbles; q d + m. 20 bytes.
fn head(row: u32, c: u32) -> Head {
  let at = (row * (p.k / 32u) + c) * 20u;
  let dm = unpack2x16float(weight[at >> 2u]);
  return Head(dm.x, dm.y, dm.x, dm.y, at, 0u);
}
fn quad(h: Head, g: u32) -> vec4<f32> {
  return vec4<f32>(fields(weight[(h.at >> 2u) + 1u + (g & 3u)], (g >> 2u) * 4u, 15u));
}
fn chunk(row: u32, c: u32) -> Chunk {
  let i = (row * (p.k / 32u) + c) * 5u;
  let dm = unpack2x16float(weight[i]);
  let a = weight[i + 1u]; let b = weight[i + 2u]; let e = weight[i + 3u]; let f = weight[i + 4u];
  return Chunk(dm.x, dm.y, dm.x, dm.y,
    low_nibbles(a), low_nibbles(b), low_nibbles(e), low_nibbles(f),
    high_nibbles(a), high_nibbles(b), high_nibbles(e), high_nibbles(f));
}
#endif

#if FORMAT == q5_0
// d: f16, 32 fifth bits, 16 bytes of nibbles; (q - 16) d. 22 bytes.
fn head(row: u32, c: u32) -> Head {
  let at = (row * (p.k / 32u) + c) * 22u;
  let d = half_at(at);
  return Head(d, -16.0 * d, d, -16.0 * d, at, 0u);
}
fn quad(h: Head, g: u32) -> vec4<f32> {
  let high = fifth_bits(word_at(h.at + 2u) >> (g * 4u));
  return vec4<f32>(fields(word_at(h.at + 6u + (g & 3u) * 4u), (g >> 2u) * 4u, 15u) | high);
}
fn chunk(row: u32, c: u32) -> Chunk {
  let h = head(row, c);
  let bits = word_at(h.at + 2u);
  let a = word_at(h.at + 6u); let b = word_at(h.at + 10u);
  let e = word_at(h.at + 14u); let f = word_at(h.at + 18u);
  return Chunk(h.d0, h.m0, h.d1, h.m1,
    vec4<f32>(fields(a, 0u, 15u) | fifth_bits(bits)), vec4<f32>(fields(b, 0u, 15u) | fifth_bits(bits >> 4u)),
    vec4<f32>(fields(e, 0u, 15u) | fifth_bits(bits >> 8u)), vec4<f32>(fields(f, 0u, 15u) | fifth_bits(bits >> 12u)),
    vec4<f32>(fields(a, 4u, 15u) | fifth_bits(bits >> 16u)), vec4<f32>(fields(b, 4u, 15u) | fifth_bits(bits >> 20u)),
    vec4<f32>(fields(e, 4u, 15u) | fifth_bits(bits >> 24u)), vec4<f32>(fields(f, 4u, 15u) | fifth_bits(bits >> 28u)));
}
#endif

#if FORMAT == q5_1
// d, m: f16, 32 fifth bits, 16 bytes of nibbles; q d + m. 24 bytes.
fn head(row: u32, c: u32) -> Head {
  let at = (row * (p.k / 32u) + c) * 24u;
  let dm = unpack2x16float(weight[at >> 2u]);
  return Head(dm.x, dm.y, dm.x, dm.y, at, 0u);
}
fn quad(h: Head, g: u32) -> vec4<f32> {
  let i = h.at >> 2u;
  let high = fifth_bits(weight[i + 1u] >> (g * 4u));
  return vec4<f32>(fields(weight[i + 2u + (g & 3u)], (g >> 2u) * 4u, 15u) | high);
}
fn chunk(row: u32, c: u32) -> Chunk {
  let h = head(row, c);
  let i = h.at >> 2u;
  let bits = weight[i + 1u];
  let a = weight[i + 2u]; let b = weight[i + 3u]; let e = weight[i + 4u]; let f = weight[i + 5u];
  return Chunk(h.d0, h.m0, h.d1, h.m1,
    vec4<f32>(fields(a, 0u, 15u) | fifth_bits(bits)), vec4<f32>(fields(b, 0u, 15u) | fifth_bits(bits >> 4u)),
    vec4<f32>(fields(e, 0u, 15u) | fifth_bits(bits >> 8u)), vec4<f32>(fields(f, 0u, 15u) | fifth_bits(bits >> 12u)),
    vec4<f32>(fields(a, 4u, 15u) | fifth_bits(bits >> 16u)), vec4<f32>(fields(b, 4u, 15u) | fifth_bits(bits >> 20u)),
    vec4<f32>(fields(e, 4u, 15u) | fifth_bits(bits >> 24u)), vec4<f32>(fields(f, 4u, 15u) | fifth_bits(bits >> 28u)));
}
#endif

#if FORMAT == q8_0
// d: f16, 32 signed bytes; q d. 34 bytes.
fn head(row: u32, c: u32) -> Head {
  let at = (row * (p.k / 32u) + c) * 34u;
  let d = half_at(at);
  return Head(d, 0.0, d, 0.0, at, 0u);
}
fn quad(h: Head, g: u32) -> vec4<f32> {
  return signed_bytes(word_at(h.at + 2u + g * 4u));
}
fn chunk(row: u32, c: u32) -> Chunk {
  let at = (row * (p.k / 32u) + c) * 34u;
  let i = at >> 2u;
  let odd = (at & 2u) != 0u;
#repeat j 9
  let w${j} = weight[i + ${j}u];
#end
  let d = unpack2x16float(select(w0, w0 >> 16u, odd)).x;
  return Chunk(d, 0.0, d, 0.0,
    signed_bytes(select((w0 >> 16u) | (w1 << 16u), w1, odd)), signed_bytes(select((w1 >> 16u) | (w2 << 16u), w2, odd)),
    signed_bytes(select((w2 >> 16u) | (w3 << 16u), w3, odd)), signed_bytes(select((w3 >> 16u) | (w4 << 16u), w4, odd)),
    signed_bytes(select((w4 >> 16u) | (w5 << 16u), w5, odd)), signed_bytes(select((w5 >> 16u) | (w6 << 16u), w6, odd)),
    signed_bytes(select((w6 >> 16u) | (w7 << 16u), w7, odd)), signed_bytes(select((w7 >> 16u) | (w8 << 16u), w8, odd)));
}
#endif

#if FORMAT == q2_k
// 16 bytes of 4-bit scales and mins, 64 bytes of 2-bit quants, d, dmin: f16. 84 bytes, 256 weights.
fn head(row: u32, c: u32) -> Head {
  let at = (row * (p.k / 256u) + (c >> 3u)) * 84u;
  let sub = c & 7u;
  let dm = unpack2x16float(weight[(at >> 2u) + 20u]);
  let s0 = byte_at(at + 2u * sub);
  let s1 = byte_at(at + 2u * sub + 1u);
  return Head(dm.x * f32(s0 & 15u), -dm.y * f32(s0 >> 4u), dm.x * f32(s1 & 15u), -dm.y * f32(s1 >> 4u), at, sub);
}
fn quad(h: Head, g: u32) -> vec4<f32> {
  return vec4<f32>(fields(weight[(h.at >> 2u) + 4u + (h.sub >> 2u) * 8u + g], (h.sub & 3u) * 2u, 3u));
}
#endif

#if FORMAT == q3_k
// 32 bytes of third bits, 64 bytes of 2-bit quants, 12 bytes of 6-bit scales, d: f16. 110 bytes, 256 weights.
fn scale(at: u32, i: u32) -> f32 {
  let low = (byte_at(at + 96u + (i & 7u)) >> ((i >> 3u) * 4u)) & 15u;
  let high = (byte_at(at + 104u + (i & 3u)) >> ((i >> 2u) * 2u)) & 3u;
  return f32(low | (high << 4u)) - 32.0;
}
fn head(row: u32, c: u32) -> Head {
  let at = (row * (p.k / 256u) + (c >> 3u)) * 110u;
  let sub = c & 7u;
  let d = half_at(at + 108u);
  let d0 = d * scale(at, 2u * sub);
  let d1 = d * scale(at, 2u * sub + 1u);
  return Head(d0, -4.0 * d0, d1, -4.0 * d1, at, sub);
}
fn quad(h: Head, g: u32) -> vec4<f32> {
  let low = fields(word_at(h.at + 32u + (h.sub >> 2u) * 32u + g * 4u), (h.sub & 3u) * 2u, 3u);
  let high = fields(word_at(h.at + g * 4u), h.sub, 1u);
  return vec4<f32>(low | (high << vec4<u32>(2u)));
}
#endif

#if K_SCALES
// 12 bytes hold eight 6-bit scales and eight 6-bit mins (ggml's get_scale_min_k4).
fn scale_min(at: u32, i: u32) -> vec2<f32> {
  if (i < 4u) {
    return vec2<f32>(f32(byte_at(at + i) & 63u), f32(byte_at(at + i + 4u) & 63u));
  }
  let both = byte_at(at + i + 4u);
  return vec2<f32>(
    f32((both & 15u) | ((byte_at(at + i - 4u) >> 6u) << 4u)),
    f32((both >> 4u) | ((byte_at(at + i) >> 6u) << 4u)));
}
#endif

#if FORMAT == q4_k
// d, dmin: f16, 12 bytes of scales and mins, 128 bytes of nibbles. 144 bytes, 256 weights.
fn head(row: u32, c: u32) -> Head {
  let at = (row * (p.k / 256u) + (c >> 3u)) * 144u;
  let sub = c & 7u;
  let dm = unpack2x16float(weight[at >> 2u]);
  let s = scale_min(at + 4u, sub);
  return Head(dm.x * s.x, -dm.y * s.y, dm.x * s.x, -dm.y * s.y, at, sub);
}
fn quad(h: Head, g: u32) -> vec4<f32> {
  return vec4<f32>(fields(weight[(h.at >> 2u) + 4u + (h.sub >> 1u) * 8u + g], (h.sub & 1u) * 4u, 15u));
}
#endif

#if FORMAT == q5_k
// d, dmin: f16, 12 bytes of scales and mins, 32 bytes of fifth bits, 128 bytes of nibbles. 176 bytes, 256 weights.
fn head(row: u32, c: u32) -> Head {
  let at = (row * (p.k / 256u) + (c >> 3u)) * 176u;
  let sub = c & 7u;
  let dm = unpack2x16float(weight[at >> 2u]);
  let s = scale_min(at + 4u, sub);
  return Head(dm.x * s.x, -dm.y * s.y, dm.x * s.x, -dm.y * s.y, at, sub);
}
fn quad(h: Head, g: u32) -> vec4<f32> {
  let i = h.at >> 2u;
  let low = fields(weight[i + 12u + (h.sub >> 1u) * 8u + g], (h.sub & 1u) * 4u, 15u);
  let high = fields(weight[i + 4u + g], h.sub, 1u);
  return vec4<f32>(low | (high << vec4<u32>(4u)));
}
#endif

#if FORMAT == q6_k
// 128 bytes of low nibbles, 64 bytes of upper bit pairs, 16 signed scales, d: f16. 210 bytes, 256 weights.
fn scale(byte: u32) -> f32 {
  return f32(bitcast<i32>(byte_at(byte) << 24u) >> 24u);
}
fn head(row: u32, c: u32) -> Head {
  let at = (row * (p.k / 256u) + (c >> 3u)) * 210u;
  let sub = c & 7u;
  let d = half_at(at + 208u);
  let d0 = d * scale(at + 192u + 2u * sub);
  let d1 = d * scale(at + 193u + 2u * sub);
  return Head(d0, -32.0 * d0, d1, -32.0 * d1, at, sub);
}
fn quad(h: Head, g: u32) -> vec4<f32> {
  let half = h.sub >> 2u;
  let j = h.sub & 3u;
  let low = fields(word_at(h.at + half * 64u + (j & 1u) * 32u + g * 4u), (j >> 1u) * 4u, 15u);
  let high = fields(word_at(h.at + 128u + half * 32u + g * 4u), j * 2u, 3u);
  return vec4<f32>(low | (high << vec4<u32>(4u)));
}
#endif

#if FORMAT == q2_z
// d, z: f32, 8 bytes of 2-bit quants; (q - z) d. 16 bytes.
fn head(row: u32, c: u32) -> Head {
  let i = (row * (p.k / 32u) + c) * 4u;
  let d = bitcast<f32>(weight[i]);
  let m = -d * bitcast<f32>(weight[i + 1u]);
  return Head(d, m, d, m, i, 0u);
}
fn quad(h: Head, g: u32) -> vec4<f32> {
  return vec4<f32>(fields(weight[h.at + 2u + (g & 1u)], (g >> 1u) * 2u, 3u));
}
#endif

#if FORMAT == q4_z
// d, z: f32, 16 bytes of nibbles; (q - z) d. 24 bytes.
fn head(row: u32, c: u32) -> Head {
  let i = (row * (p.k / 32u) + c) * 6u;
  let d = bitcast<f32>(weight[i]);
  let m = -d * bitcast<f32>(weight[i + 1u]);
  return Head(d, m, d, m, i, 0u);
}
fn quad(h: Head, g: u32) -> vec4<f32> {
  return vec4<f32>(fields(weight[h.at + 2u + (g & 3u)], (g >> 2u) * 4u, 15u));
}
fn chunk(row: u32, c: u32) -> Chunk {
  let h = head(row, c);
  let a = weight[h.at + 2u]; let b = weight[h.at + 3u]; let e = weight[h.at + 4u]; let f = weight[h.at + 5u];
  return Chunk(h.d0, h.m0, h.d1, h.m1,
    low_nibbles(a), low_nibbles(b), low_nibbles(e), low_nibbles(f),
    high_nibbles(a), high_nibbles(b), high_nibbles(e), high_nibbles(f));
}
#endif

#if FORMAT == q8_z
// d, z: f32, 32 bytes; (q - z) d. 40 bytes.
fn head(row: u32, c: u32) -> Head {
  let i = (row * (p.k / 32u) + c) * 10u;
  let d = bitcast<f32>(weight[i]);
  let m = -d * bitcast<f32>(weight[i + 1u]);
  return Head(d, m, d, m, i, 0u);
}
fn quad(h: Head, g: u32) -> vec4<f32> {
  return vec4<f32>(fields(weight[h.at + 2u + g], 0u, 255u));
}
#endif

#if CHUNK_FROM_QUADS
fn chunk(row: u32, c: u32) -> Chunk {
  let h = head(row, c);
  return Chunk(h.d0, h.m0, h.d1, h.m1,
    quad(h, 0u), quad(h, 1u), quad(h, 2u), quad(h, 3u), quad(h, 4u), quad(h, 5u), quad(h, 6u), quad(h, 7u));
}
#endif

// Weights 4g … 4g+3 of a chunk, scaled.
fn scaled(h: Head, g: u32) -> vec4<f32> {
  let q = quad(h, g);
  return select(h.d0, h.d1, g >= 4u) * q + select(h.m0, h.m1, g >= 4u);
}

//! Attributes of the composites.

/// Rotates pairs of elements by an angle that depends on the position (Su et al. 2021, RoFormer).
///
/// Row `position[b] + t` of the tables holds the cosines and sines of token `t`. Only the first
/// `rotated = 2 · table width` elements of each head are rotated, the rest pass unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RotaryEmbedding {
    /// Pairs are `(2i, 2i+1)` (GPT-J, GGUF's LLaMA) instead of `(i, i + rotated/2)` (GPT-NeoX, Hugging Face).
    pub interleaved: bool,
}

/// `softmax(scale · q·kᵀ + bias) · v`, grouped-query: query head `h` reads key head `h / (heads / kv_heads)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    pub scale: f32,
    /// Token `t` of row `b` sees the keys `0 ..= position[b] + t`; without it, all keys.
    pub causal: bool,
    pub bias: bool,
}

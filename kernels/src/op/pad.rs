//! Attributes of padding.

/// What stands in the places that padding adds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    Constant(f32),
    /// The nearest element.
    Edge,
    /// The elements mirrored at the first and last, which are not repeated; each side adds less than the
    /// dimension has.
    Reflection,
}

/// Elements added before and after, a dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct Pad {
    pub before: Vec<usize>,
    pub after: Vec<usize>,
    pub mode: PadMode,
}

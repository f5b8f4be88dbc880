//! Attributes of operators that slide a window over the last two dimensions.

/// How a window goes over height and width, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Rows before and after, columns before and after.
    pub padding: [usize; 4],
    pub strides: [usize; 2],
    pub dilations: [usize; 2],
}

impl Default for Window {
    fn default() -> Window {
        Window {
            padding: [0; 4],
            strides: [1; 2],
            dilations: [1; 2],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// The mean of what the window has of `x`; padding is not counted.
    Average,
    Max,
}

impl PoolKind {
    pub const fn name(self) -> &'static str {
        match self {
            PoolKind::Average => "average_pool2d",
            PoolKind::Max => "max_pool2d",
        }
    }

    pub const ALL: [PoolKind; 2] = [PoolKind::Average, PoolKind::Max];
}

/// One number for each place of a window of `size` (height, width). Output sizes are rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool2d {
    pub kind: PoolKind,
    pub size: [usize; 2],
    pub window: Window,
}

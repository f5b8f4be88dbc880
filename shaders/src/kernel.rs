//! Variant keys: what a kernel computes, in which formats, and by which path.

/// Who compiles the text. naga has subgroup builtins without asking and rejects the line that Dawn and
/// the browsers want before they have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// naga, in a native program.
    Native,
    /// A browser.
    Browser,
}

/// How the elements of a weight are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Q2Z,
    Q4Z,
    Q8Z,
}

impl WeightFormat {
    pub const ALL: [WeightFormat; 16] = [
        WeightFormat::F32,
        WeightFormat::F16,
        WeightFormat::Bf16,
        WeightFormat::Q4_0,
        WeightFormat::Q4_1,
        WeightFormat::Q5_0,
        WeightFormat::Q5_1,
        WeightFormat::Q8_0,
        WeightFormat::Q2K,
        WeightFormat::Q3K,
        WeightFormat::Q4K,
        WeightFormat::Q5K,
        WeightFormat::Q6K,
        WeightFormat::Q2Z,
        WeightFormat::Q4Z,
        WeightFormat::Q8Z,
    ];

    /// The name that the shader files use.
    pub const fn name(self) -> &'static str {
        match self {
            WeightFormat::F32 => "f32",
            WeightFormat::F16 => "f16",
            WeightFormat::Bf16 => "bf16",
            WeightFormat::Q4_0 => "q4_0",
            WeightFormat::Q4_1 => "q4_1",
            WeightFormat::Q5_0 => "q5_0",
            WeightFormat::Q5_1 => "q5_1",
            WeightFormat::Q8_0 => "q8_0",
            WeightFormat::Q2K => "q2_k",
            WeightFormat::Q3K => "q3_k",
            WeightFormat::Q4K => "q4_k",
            WeightFormat::Q5K => "q5_k",
            WeightFormat::Q6K => "q6_k",
            WeightFormat::Q2Z => "q2_z",
            WeightFormat::Q4Z => "q4_z",
            WeightFormat::Q8Z => "q8_z",
        }
    }

    /// Whether weights come in blocks with scales of their own.
    pub const fn is_block(self) -> bool {
        !matches!(
            self,
            WeightFormat::F32 | WeightFormat::F16 | WeightFormat::Bf16
        )
    }
}

/// How a kernel that reduces works together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// Every invocation by itself: for software adapters, where a barrier switches fibres.
    BarrierFree,
    /// A workgroup together, through workgroup memory.
    Workgroup,
    /// The same, with subgroup operations.
    Subgroup,
}

impl Path {
    pub const ALL: [Path; 3] = [Path::BarrierFree, Path::Workgroup, Path::Subgroup];
}

/// `y = x · wᵀ (+ bias) (+ residual)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Linear {
    pub format: WeightFormat,
    pub path: LinearPath,
    pub bias: bool,
    pub residual: bool,
    /// Invocations of a workgroup (a power of two); [`LinearPath::Tiled`] always takes 128.
    pub workgroup: u32,
}

/// How a linear kernel cuts its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinearPath {
    /// Few rows of x, barrier-free: an invocation makes `rows` outputs.
    Rows { rows: u32 },
    /// Many rows of x, barrier-free: an invocation makes `tm` × `tn` outputs.
    Registers { tm: u32, tn: u32 },
    /// Few rows of x: a workgroup makes `rows` (1 to 4) outputs.
    Vector { rows: u32, subgroups: bool },
    /// Many rows of x: a workgroup makes 32 × 64 outputs.
    Tiled { f16: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Normalization {
    Rms,
    Layer,
    Softmax,
}

/// A normalization over rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Normalize {
    pub kind: Normalization,
    pub path: Path,
    pub scale: bool,
    pub bias: bool,
    /// Another input is added before; `total` writes the sum out as well.
    pub added: bool,
    pub total: bool,
    /// Rows are whole vectors of four.
    pub vec4: bool,
    pub workgroup: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attention {
    pub path: AttentionPath,
    /// Elements of a head.
    pub size: u32,
    pub causal: bool,
    pub bias: bool,
    pub workgroup: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttentionPath {
    /// Barrier-free: an invocation makes one head of one token.
    Registers,
    /// A workgroup makes one head of one token.
    Tiled { subgroups: bool },
}

/// What the elements of a buffer are on the device: all of them take four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputType {
    F32,
    I32,
    U32,
}

impl InputType {
    pub const fn wgsl(self) -> &'static str {
        match self {
            InputType::F32 => "f32",
            InputType::I32 => "i32",
            InputType::U32 => "u32",
        }
    }
}

/// What stands in the places that padding adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PadMode {
    Constant,
    Edge,
    Reflection,
}

impl PadMode {
    pub const ALL: [PadMode; 3] = [PadMode::Constant, PadMode::Edge, PadMode::Reflection];
}

/// How a scattered element is joined with the one at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Join {
    Add,
    Mul,
    Max,
    Min,
}

impl Join {
    pub const ALL: [Join; 4] = [Join::Add, Join::Mul, Join::Max, Join::Min];
}

/// How an element-wise kernel finds an input's element for output element `i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Indexing {
    /// `i`
    Along,
    /// 0: one element for all.
    One,
    /// `i % period`
    Repeat,
    /// `i / period`
    Stretch,
    /// By strides.
    Strided,
}

/// A chain of element-wise operators, written as WGSL statements.
///
/// `body` may use `x0`, `x1`, … (the inputs' elements) and must end by defining `r`, of the output's type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Elementwise {
    pub inputs: Vec<(InputType, Indexing)>,
    pub output: InputType,
    /// Four elements at a time: all types are f32, and nothing is strided or stretched.
    pub vec4: bool,
    pub body: String,
    pub workgroup: u32,
}

/// A variant key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    Linear(Linear),
    /// `a · b` of any strides; `format` is b's (f32, f16, bf16).
    Matmul {
        format: WeightFormat,
        bias: bool,
        workgroup: u32,
    },
    Normalize(Normalize),
    Attention(Attention),
    Rotary {
        interleaved: bool,
        workgroup: u32,
    },
    KvAppend {
        vec4: bool,
        workgroup: u32,
    },
    /// Rows of a weight table, decoded.
    GatherRows {
        format: WeightFormat,
        vec4: bool,
        workgroup: u32,
    },
    /// A weight decoded to f32.
    Decode {
        format: WeightFormat,
        vec4: bool,
        workgroup: u32,
    },
    /// Elements along an axis.
    Gather {
        workgroup: u32,
    },
    /// A strided copy.
    Copy {
        workgroup: u32,
    },
    /// A convolution of images by a filter in f32.
    Conv2d {
        /// By a workgroup together ([`Kernel::Conv2d`]'s `workgroup` is then 128) instead of barrier-free.
        tiled: bool,
        bias: bool,
        workgroup: u32,
    },
    /// The mean or the largest of each window.
    Pool2d {
        average: bool,
        workgroup: u32,
    },
    /// Elements added around.
    Pad {
        mode: PadMode,
        workgroup: u32,
    },
    CumulativeSum {
        element: InputType,
        workgroup: u32,
    },
    /// A reduction by the WebNN spec's name without `reduce_`.
    Reduce {
        kind: &'static str,
        element: InputType,
        workgroup: u32,
    },
    /// Elements written to places given by index, or joined with what is there.
    Scatter {
        element: InputType,
        join: Option<Join>,
        workgroup: u32,
    },
    /// The places of the greatest elements along an axis, or of the least.
    TopK {
        element: InputType,
        largest: bool,
        workgroup: u32,
    },
    Elementwise(Elementwise),
}

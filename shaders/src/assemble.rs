//! From a variant key to WGSL text.

use std::fmt::Write;

use crate::expand::{Defines, ExpandError, expand};
use crate::files::find;
use crate::kernel::{
    AttentionPath, Elementwise, Host, Indexing, InputType, Join, Kernel, LinearPath, Normalization,
    PadMode, Path, WeightFormat,
};

/// The text of a variant, and what a pipeline of it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shader {
    /// The file it comes from, for labels and messages.
    pub name: &'static str,
    pub wgsl: String,
    /// What group 0 binds, in the order of the binding numbers. The entry point is `main`.
    pub bindings: Vec<Binding>,
    /// Invocations of a workgroup.
    pub workgroup: u32,
    /// Device features it uses.
    pub subgroups: bool,
    pub f16: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    pub number: u32,
    pub access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    Uniform,
    Read,
    ReadWrite,
}

impl Kernel {
    /// The WGSL text of this variant for a host.
    pub fn assemble(&self, host: Host) -> Result<Shader, ExpandError> {
        let (name, workgroup, defines) = self.defines();
        let (subgroups, f16) = self.features();
        let mut wgsl = String::new();
        if f16 {
            wgsl.push_str("enable f16;\n");
        }
        if subgroups && host == Host::Browser {
            wgsl.push_str("enable subgroups;\n");
        }
        wgsl.push_str(&expand(name, &defines.with("WG", workgroup), &find)?);
        Ok(Shader {
            name,
            bindings: bindings(&wgsl),
            wgsl,
            workgroup,
            subgroups,
            f16,
        })
    }

    /// Whether it uses subgroups and f16.
    fn features(&self) -> (bool, bool) {
        match self {
            Kernel::Linear(linear) => match linear.path {
                LinearPath::Vector { subgroups, .. } => (subgroups, false),
                LinearPath::Tiled { f16 } => (false, f16),
                _ => (false, false),
            },
            Kernel::Normalize(normalize) => (normalize.path == Path::Subgroup, false),
            Kernel::Attention(attention) => match attention.path {
                AttentionPath::Tiled { subgroups } => (subgroups, false),
                AttentionPath::Registers => (false, false),
            },
            _ => (false, false),
        }
    }

    /// File, invocations of a workgroup, defines.
    fn defines(&self) -> (&'static str, u32, Defines) {
        let none = Defines::new();
        match self {
            Kernel::Linear(linear) => {
                let common = weight(none, linear.format)
                    .flag("BIAS", linear.bias)
                    .flag("RESIDUAL", linear.residual)
                    .with("REDUCED", "vec4<f32>");
                match linear.path {
                    LinearPath::Rows { rows } => (
                        "linear_rows.wgsl",
                        linear.workgroup,
                        common.with("ROWS", rows),
                    ),
                    LinearPath::Registers { tm, tn } => (
                        "linear_registers.wgsl",
                        linear.workgroup,
                        common.with("TM", tm).with("TN", tn),
                    ),
                    LinearPath::Vector { rows, subgroups } => (
                        "linear_vector.wgsl",
                        linear.workgroup,
                        common
                            .with("ROWS", rows.clamp(1, 4))
                            .flag("SUBGROUPS", subgroups),
                    ),
                    LinearPath::Tiled { f16 } => {
                        ("linear_tiled.wgsl", 128, common.flag("F16", f16))
                    }
                }
            }
            Kernel::Matmul {
                format,
                bias,
                workgroup,
            } => (
                "matmul.wgsl",
                *workgroup,
                weight(none, *format).flag("BIAS", *bias),
            ),
            Kernel::Normalize(normalize) => {
                let kind = match normalize.kind {
                    Normalization::Rms => "rms",
                    Normalization::Layer => "layer",
                    Normalization::Softmax => "softmax",
                };
                let defines = vector(none, normalize.vec4)
                    .with("KIND", kind)
                    .with("REDUCED", "f32")
                    .flag("BARRIER_FREE", normalize.path == Path::BarrierFree)
                    .flag("SUBGROUPS", normalize.path == Path::Subgroup)
                    .flag("SCALE", normalize.scale)
                    .flag("BIAS", normalize.bias)
                    .flag("ADDED", normalize.added)
                    .flag("TOTAL", normalize.total);
                ("normalize.wgsl", normalize.workgroup, defines)
            }
            Kernel::Attention(attention) => {
                let vec4 = attention.size % 4 == 0;
                let vectors = if vec4 {
                    attention.size / 4
                } else {
                    attention.size
                };
                let defines = vector(none, vec4)
                    .with("SIZE", vectors)
                    .with("OUTPUTS", vectors.div_ceil(attention.workgroup))
                    .with("REDUCED", "f32")
                    .flag("CAUSAL", attention.causal)
                    .flag("BIAS", attention.bias);
                match attention.path {
                    AttentionPath::Registers => {
                        ("attention_registers.wgsl", attention.workgroup, defines)
                    }
                    AttentionPath::Tiled { subgroups } => (
                        "attention_tiled.wgsl",
                        attention.workgroup,
                        defines.flag("SUBGROUPS", subgroups),
                    ),
                }
            }
            Kernel::Rotary {
                interleaved,
                workgroup,
            } => (
                "rotary_embedding.wgsl",
                *workgroup,
                none.flag("INTERLEAVED", *interleaved),
            ),
            Kernel::KvAppend { vec4, workgroup } => {
                ("kv_append.wgsl", *workgroup, vector(none, *vec4))
            }
            Kernel::GatherRows {
                format,
                vec4,
                workgroup,
            } => (
                "gather_rows.wgsl",
                *workgroup,
                vector(weight(none, *format), *vec4),
            ),
            Kernel::Decode {
                format,
                vec4,
                workgroup,
            } => (
                "decode.wgsl",
                *workgroup,
                vector(weight(none, *format), *vec4),
            ),
            Kernel::Gather { workgroup } => ("gather.wgsl", *workgroup, none),
            Kernel::Copy { workgroup } => ("copy.wgsl", *workgroup, none),
            Kernel::Conv2d {
                tiled,
                bias,
                workgroup,
            } => {
                let file = match tiled {
                    true => "conv2d_tiled.wgsl",
                    false => "conv2d.wgsl",
                };
                (file, *workgroup, none.flag("BIAS", *bias))
            }
            Kernel::Pool2d { average, workgroup } => {
                ("pool2d.wgsl", *workgroup, none.flag("AVERAGE", *average))
            }
            Kernel::Pad { mode, workgroup } => {
                let mode = match mode {
                    PadMode::Constant => "constant",
                    PadMode::Edge => "edge",
                    PadMode::Reflection => "reflection",
                };
                ("pad.wgsl", *workgroup, none.with("MODE", mode))
            }
            Kernel::CumulativeSum { element, workgroup } => (
                "cumulative_sum.wgsl",
                *workgroup,
                none.with("ELEMENT", element.wgsl()),
            ),
            Kernel::Reduce {
                kind,
                element,
                workgroup,
            } => {
                let (map, join, finish) = reduction(kind, *element);
                let defines = none
                    .with("KIND", kind)
                    .with("ELEMENT", element.wgsl())
                    .with("MAP", map)
                    .with("JOIN", join)
                    .with("FINISH", finish);
                ("reduce.wgsl", *workgroup, defines)
            }
            Kernel::Scatter {
                element,
                join,
                workgroup,
            } => {
                let joined = match (join, element) {
                    (None, _) => "",
                    (Some(Join::Add), _) => "r + v",
                    (Some(Join::Mul), _) => "r * v",
                    (Some(Join::Max), InputType::F32) => "greater(r, v)",
                    (Some(Join::Min), InputType::F32) => "lesser(r, v)",
                    (Some(Join::Max), _) => "max(r, v)",
                    (Some(Join::Min), _) => "min(r, v)",
                };
                let defines = none
                    .with("ELEMENT", element.wgsl())
                    .flag("JOINED", join.is_some())
                    .with("JOIN", joined);
                ("scatter.wgsl", *workgroup, defines)
            }
            Kernel::TopK {
                element,
                largest,
                workgroup,
            } => {
                let float = *element == InputType::F32;
                let defines = none
                    .with("ELEMENT", element.wgsl())
                    .flag("FLOAT", float)
                    .with("RANK", if float { "i32" } else { element.wgsl() })
                    .with("BEFORE", if *largest { ">" } else { "<" });
                ("top_k.wgsl", *workgroup, defines)
            }
            Kernel::Elementwise(elementwise) => {
                let text = elementwise.text();
                let circle = ["f_sin(", "f_cos(", "f_tan("];
                let defines = none
                    .flag("VEC4", elementwise.vec4)
                    .flag("CIRCLE", circle.iter().any(|name| text.contains(name)))
                    .with("BINDINGS", elementwise.bindings())
                    .with("BODY", text);
                ("elementwise.wgsl", elementwise.workgroup, defines)
            }
        }
    }
}

fn weight(defines: Defines, format: WeightFormat) -> Defines {
    let k_scales = matches!(format, WeightFormat::Q4K | WeightFormat::Q5K);
    let from_quads = matches!(
        format,
        WeightFormat::Q2K
            | WeightFormat::Q3K
            | WeightFormat::Q4K
            | WeightFormat::Q5K
            | WeightFormat::Q6K
            | WeightFormat::Q2Z
            | WeightFormat::Q8Z
    );
    defines
        .with("FORMAT", format.name())
        .flag("BLOCK", format.is_block())
        .flag("PLAIN", !format.is_block())
        .flag("K_SCALES", k_scales)
        .flag("CHUNK_FROM_QUADS", from_quads)
}

fn vector(defines: Defines, vec4: bool) -> Defines {
    defines
        .flag("VEC4", vec4)
        .with("VECTOR", if vec4 { "vec4<f32>" } else { "f32" })
}

/// The first element's value, the step from `r` and `v`, and the end of a reduction.
fn reduction(kind: &str, element: InputType) -> (&'static str, &'static str, &'static str) {
    let unsigned = element == InputType::U32;
    match kind {
        "l1" if unsigned => ("first", "r + v", "r"),
        "l1" => ("abs(first)", "r + abs(v)", "r"),
        "l2" => ("first * first", "r + v * v", "sqrt(r)"),
        "log_sum" => ("first", "r + v", "log(r)"),
        "max" => ("first", "max(r, v)", "r"),
        "min" => ("first", "min(r, v)", "r"),
        "mean" => ("first", "r + v", "r / f32(p.n)"),
        "product" => ("first", "r * v", "r"),
        "sum_square" => ("first * first", "r + v * v", "r"),
        // `log_sum_exp` has a body of its own; what is left is `sum`.
        _ => ("first", "r + v", "r"),
    }
}

impl Elementwise {
    fn bindings(&self) -> String {
        let array = |element: InputType| match self.vec4 {
            true => format!("array<vec4<{}>>", element.wgsl()),
            false => format!("array<{}>", element.wgsl()),
        };
        let mut text = String::new();
        for (i, (element, _)) in self.inputs.iter().enumerate() {
            let number = i + 1;
            let array = array(*element);
            let _ = writeln!(
                text,
                "@group(0) @binding({number}) var<storage, read> in{i}: {array};"
            );
        }
        let number = self.inputs.len() + 1;
        let array = array(self.output);
        let _ = write!(
            text,
            "@group(0) @binding({number}) var<storage, read_write> y: {array};"
        );
        text
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (i, (_, indexing)) in self.inputs.iter().enumerate() {
            let (half, at) = (i / 4, i % 4);
            let index = match indexing {
                Indexing::Along => "i".to_owned(),
                // A vector of one repeated element.
                Indexing::One if self.vec4 => {
                    let _ = writeln!(text, "  let x{i} = F(in{i}[0].x);");
                    continue;
                }
                Indexing::One => "0u".to_owned(),
                Indexing::Repeat => format!("i % p.period[{half}][{at}]"),
                Indexing::Stretch => format!("i / p.period[{half}][{at}]"),
                Indexing::Strided => format!("strided(i, {i}u)"),
            };
            let _ = writeln!(text, "  let x{i} = in{i}[{index}];");
        }
        text.push_str(&self.body);
        text.push_str("\n  y[i] = r;");
        text
    }
}

/// Reads what a text binds from its declarations, so that the two cannot differ.
fn bindings(wgsl: &str) -> Vec<Binding> {
    let mut found: Vec<Binding> = wgsl
        .lines()
        .filter_map(|line| {
            let rest = line.trim().strip_prefix("@group(0) @binding(")?;
            let (number, rest) = rest.split_once(')')?;
            let access = if rest.contains("var<uniform>") {
                Access::Uniform
            } else if rest.contains("read_write") {
                Access::ReadWrite
            } else {
                Access::Read
            };
            Some(Binding {
                number: number.parse().ok()?,
                access,
            })
        })
        .collect();
    found.sort_by_key(|binding| binding.number);
    found
}

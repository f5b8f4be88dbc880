//! Every variant is valid WGSL, by naga's front end and validator, with no more than its features.

use fewbit_shaders::{
    Attention, AttentionPath, Elementwise, Host, Indexing, InputType, Join, Kernel, Linear,
    LinearPath, Normalization, Normalize, PadMode, Path, WeightFormat,
};
use naga::valid::{Capabilities, ValidationFlags, Validator};

fn check(kernel: &Kernel) {
    let shader = kernel.assemble(Host::Native).unwrap();
    let mut parser = naga::front::wgsl::Frontend::new();
    let numbered = || -> String {
        let lines = shader.wgsl.lines().enumerate();
        lines.map(|(i, l)| format!("{:4} {l}\n", i + 1)).collect()
    };
    let module = parser.parse(&shader.wgsl).unwrap_or_else(|error| {
        panic!(
            "{kernel:?}\n{}\n{}",
            error.emit_to_string(&shader.wgsl),
            numbered()
        )
    });
    // `unpack2x16float` is core WGSL; naga asks for it apart, for downlevel devices.
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    if shader.f16 {
        capabilities |= Capabilities::SHADER_FLOAT16;
    }
    if shader.subgroups {
        capabilities |= Capabilities::SUBGROUP;
    }
    Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|error| {
            panic!(
                "{kernel:?}\n{}\n{}",
                error.emit_to_string(&shader.wgsl),
                numbered()
            )
        });
    // The browser's text differs in `enable` lines only.
    let browser = kernel.assemble(Host::Browser).unwrap();
    assert_eq!(
        browser.wgsl.contains("enable subgroups;"),
        shader.subgroups,
        "{kernel:?}"
    );
    assert_eq!(browser.wgsl.replace("enable subgroups;\n", ""), shader.wgsl);
}

#[test]
fn linear() {
    let paths = [
        LinearPath::Rows { rows: 1 },
        LinearPath::Rows { rows: 2 },
        LinearPath::Rows { rows: 4 },
        LinearPath::Registers { tm: 4, tn: 1 },
        LinearPath::Registers { tm: 4, tn: 2 },
        LinearPath::Registers { tm: 4, tn: 4 },
        LinearPath::Registers { tm: 8, tn: 2 },
        LinearPath::Vector {
            rows: 1,
            subgroups: false,
        },
        LinearPath::Vector {
            rows: 4,
            subgroups: true,
        },
        LinearPath::Vector {
            rows: 4,
            subgroups: false,
        },
        LinearPath::Tiled { f16: false },
        LinearPath::Tiled { f16: true },
    ];
    for format in WeightFormat::ALL {
        for path in paths {
            for (bias, residual) in [(false, false), (true, false), (true, true)] {
                check(&Kernel::Linear(Linear {
                    format,
                    path,
                    bias,
                    residual,
                    workgroup: 64,
                }));
            }
        }
    }
}

#[test]
fn normalizations() {
    for kind in [
        Normalization::Rms,
        Normalization::Layer,
        Normalization::Softmax,
    ] {
        for path in Path::ALL {
            for vec4 in [false, true] {
                for (scale, bias) in [(false, false), (true, false), (true, true)] {
                    for (added, total) in [(false, false), (true, false), (true, true)] {
                        check(&Kernel::Normalize(Normalize {
                            kind,
                            path,
                            scale,
                            bias,
                            added,
                            total,
                            vec4,
                            workgroup: 64,
                        }));
                    }
                }
            }
        }
    }
}

#[test]
fn attention() {
    let paths = [
        AttentionPath::Registers,
        AttentionPath::Tiled { subgroups: false },
        AttentionPath::Tiled { subgroups: true },
    ];
    for path in paths {
        for size in [6, 16, 64, 128, 512] {
            for (causal, bias) in [(false, false), (true, false), (false, true), (true, true)] {
                check(&Kernel::Attention(Attention {
                    path,
                    size,
                    causal,
                    bias,
                    workgroup: 64,
                }));
            }
        }
    }
}

#[test]
fn weights_and_movement() {
    for format in WeightFormat::ALL {
        for vec4 in [false, true] {
            if format.is_block() && !vec4 {
                continue;
            }
            check(&Kernel::GatherRows {
                format,
                vec4,
                workgroup: 64,
            });
            check(&Kernel::Decode {
                format,
                vec4,
                workgroup: 64,
            });
        }
    }
    for format in [WeightFormat::F32, WeightFormat::F16, WeightFormat::Bf16] {
        for bias in [false, true] {
            check(&Kernel::Matmul {
                format,
                bias,
                workgroup: 64,
            });
        }
    }
    for flag in [false, true] {
        check(&Kernel::Rotary {
            interleaved: flag,
            workgroup: 64,
        });
        check(&Kernel::KvAppend {
            vec4: flag,
            workgroup: 64,
        });
    }
    check(&Kernel::Gather { workgroup: 64 });
    check(&Kernel::Copy { workgroup: 64 });
}

#[test]
fn reductions() {
    for kind in [
        "l1",
        "l2",
        "log_sum",
        "log_sum_exp",
        "max",
        "mean",
        "min",
        "product",
        "sum",
        "sum_square",
    ] {
        check(&Kernel::Reduce {
            kind,
            element: InputType::F32,
            workgroup: 64,
        });
    }
    for kind in ["l1", "max", "min", "product", "sum", "sum_square"] {
        for element in [InputType::I32, InputType::U32] {
            check(&Kernel::Reduce {
                kind,
                element,
                workgroup: 64,
            });
        }
    }
}

#[test]
fn elementwise() {
    let body = "  let t0 = f_gelu(x0);\n  let t1 = f_pow(t0, x1);\n  let t2 = f_tanh(f_silu(t1) + x2);\n  \
                let t3 = f_clamp(f_exp(t2), F(-1.0), F(2.5));\n  let r = f_max(f_min(t3, f_relu(x0)), f_erf(x1));";
    for vec4 in [false, true] {
        for last in [Indexing::One, Indexing::Repeat, Indexing::Along] {
            check(&Kernel::Elementwise(Elementwise {
                inputs: vec![
                    (InputType::F32, Indexing::Along),
                    (InputType::F32, Indexing::Repeat),
                    (InputType::F32, last),
                ],
                output: InputType::F32,
                vec4,
                body: body.to_owned(),
                workgroup: 64,
            }));
        }
    }
    for vec4 in [false, true] {
        check(&Kernel::Elementwise(Elementwise {
            inputs: vec![(InputType::F32, Indexing::Along)],
            output: InputType::F32,
            vec4,
            body: "  let r = f_sin(x0) + f_cos(x0) * f_tan(x0);".to_owned(),
            workgroup: 64,
        }));
    }
    check(&Kernel::Elementwise(Elementwise {
        inputs: vec![
            (InputType::I32, Indexing::Strided),
            (InputType::U32, Indexing::Stretch),
        ],
        output: InputType::U32,
        vec4: false,
        body: "  let r = u32(x0 > bitcast<i32>(x1));".to_owned(),
        workgroup: 64,
    }));
}

#[test]
fn windows_padding_and_sums() {
    for bias in [false, true] {
        for (tiled, workgroup) in [(false, 32), (true, 128)] {
            check(&Kernel::Conv2d {
                tiled,
                bias,
                workgroup,
            });
        }
    }
    for average in [false, true] {
        check(&Kernel::Pool2d {
            average,
            workgroup: 64,
        });
    }
    for mode in PadMode::ALL {
        check(&Kernel::Pad {
            mode,
            workgroup: 64,
        });
    }
    for element in [InputType::F32, InputType::I32, InputType::U32] {
        check(&Kernel::CumulativeSum {
            element,
            workgroup: 64,
        });
    }
}

#[test]
fn scattering_and_order() {
    for element in [InputType::F32, InputType::I32, InputType::U32] {
        for join in Join::ALL.map(Some).into_iter().chain([None]) {
            check(&Kernel::Scatter {
                element,
                join,
                workgroup: 64,
            });
        }
        for largest in [false, true] {
            check(&Kernel::TopK {
                element,
                largest,
                workgroup: 64,
            });
        }
    }
}

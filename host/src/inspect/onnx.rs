//! ONNX files: imported, their initializers looked at where they are, in the file or beside it.

use std::io::Read;
use std::path::Path;

use fewbit_engine::graph::{Bindings, Graph};
use fewbit_engine::task::checkpoint;
use fewbit_onnx::{ImportError, ImportOptions, Imported, OnnxFile};

use super::coverage::{Claim, Coverage, usual_sizes};
use super::{InspectError, OnLook, Report, Said, Sum, Verdict, covered, finite, needs};
use crate::store::ModelFiles;
use crate::target::Target;

pub(super) fn look(
    report: &mut Report,
    files: &ModelFiles,
    on: OnLook<'_>,
) -> Result<(), InspectError> {
    report.format = Some("ONNX".into());
    let sources = checkpoint::ModelFiles::new(super::source_of(files)?);
    for file in &files.files {
        let name = &file.name;
        if !name.ends_with(".onnx") {
            continue;
        }
        on(&format!("reading {name}"), 0, 0);
        let opened = match pollster::block_on(OnnxFile::open(&sources, name)) {
            Ok(opened) => opened,
            Err(error @ ImportError::Unsupported { .. }) => {
                report.check("format", Verdict::Holds, format!("{name} is an ONNX model"));
                refused(report, name, &error);
                continue;
            }
            Err(error) => {
                report.check("format", Verdict::Fails, error.to_string());
                continue;
            }
        };
        let interface = opened.interface();
        let (inputs, outputs) = (interface.inputs.len(), interface.outputs.len());
        let detail = format!("{name}: {inputs} inputs, {outputs} outputs");
        report.check("format", Verdict::Holds, detail);
        match imported(&opened) {
            Ok(Imported { graph, source, .. }) => {
                finite(report, std::slice::from_ref(&source), &|_| true, on);
                let sizes = sizes_that_fit(&graph);
                let parts = [(&graph, sizes)];
                report.memory = needs::needs(&parts, &source).ok();
                covered(report, &parts);
            }
            Err(error) => refused(report, name, &error),
        }
    }
    Ok(())
}

/// Usual sizes, halved until the graph takes them: a file does not say how many tokens its tables reach.
fn sizes_that_fit(graph: &Graph) -> Bindings {
    let usual = usual_sizes(graph, None);
    let mut sizes = usual.clone();
    while graph.specialize(&sizes).is_err() {
        if sizes.values().all(|&size| size <= 1) {
            return usual;
        }
        sizes
            .values_mut()
            .for_each(|size| *size = (*size / 2).max(1));
    }
    sizes
}

/// The graph with its symbols or, where they are in the way, for usual sizes.
fn imported(file: &OnnxFile) -> Result<Imported, ImportError> {
    let open = pollster::block_on(file.import(&ImportOptions::default()));
    if open.is_ok() {
        return open;
    }
    let sizes = file.dimensions().into_iter().map(|name| {
        let size = match name.as_str() {
            "batch" | "batch_size" | "N" => 1,
            "height" | "width" => 224,
            _ => 16,
        };
        (name, size)
    });
    let options = ImportOptions {
        sizes: Bindings::from_iter(sizes),
        ..ImportOptions::default()
    };
    pollster::block_on(file.import(&options))
}

/// A file that is not imported: which operators are missing, or what else is in the way.
fn refused(report: &mut Report, file: &str, error: &ImportError) {
    let mut missing = Vec::new();
    if let ImportError::Unsupported { operators, .. } = error {
        let names = operators.iter().map(|operator| {
            let (op_type, domain) = (&operator.op_type, &operator.domain);
            format!("{op_type} ({domain} {})", operator.opset)
        });
        missing = names.collect();
        missing.sort();
        missing.dedup();
    }
    report.targets = Target::all()
        .into_iter()
        .map(|target| Coverage {
            target: target.to_string(),
            outcome: Claim::Unsupported,
            missing: missing.clone(),
            reason: missing.is_empty().then(|| error.to_string()),
        })
        .collect();
    let detail = match missing.is_empty() {
        true => error.to_string(),
        false => format!("{file}: not imported: {}", missing.join(", ")),
    };
    report.check("operators", Verdict::Fails, detail);
}

/// What the files say made them.
pub(super) fn producers(summed: &[Sum]) -> Result<Vec<Said>, InspectError> {
    let mut said = Vec::new();
    for sum in summed.iter().filter(|sum| sum.name.ends_with(".onnx")) {
        let text = producer(&sum.path)?;
        let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
        if !text.trim().is_empty() {
            said.push(Said {
                what: "made by".into(),
                text,
                by: sum.name.clone(),
            });
        }
    }
    Ok(said)
}

/// Name and version of what made a model (`producer_name` and `producer_version`, fields 2 and 3 of `ModelProto`), where they
/// stand before its graph.
fn producer(path: &Path) -> std::io::Result<String> {
    let mut head = Vec::new();
    std::fs::File::open(path)?
        .take(4096)
        .read_to_end(&mut head)?;
    let mut rest = &head[..];
    let mut words = Vec::new();
    while let Some(tag) = varint(&mut rest) {
        let (field, wire) = (tag >> 3, tag & 7);
        let Some(length) = varint(&mut rest) else {
            break;
        };
        if wire == 0 {
            continue;
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (true, Some((bytes, after))) = (wire == 2, rest.split_at_checked(length)) else {
            break;
        };
        if matches!(field, 2 | 3) {
            words.push(String::from_utf8_lossy(bytes).into_owned());
        }
        rest = after;
    }
    Ok(words.join(" "))
}

/// A number of protobuf's, seven bits a byte, the lowest first.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..10 {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

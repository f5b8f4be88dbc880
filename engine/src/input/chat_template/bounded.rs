//! Runs a template whose every growing operation is counted (see [`super::budget`]).
//!
//! minijinja counts instructions (fuel) but not what they make, and has no hook at its operators. So the compiled
//! instructions are rewritten: `~`, `+` and `*` become filters of ours, which take the same two values from the stack,
//! and what else makes values is followed by a filter that counts it.

use minijinja::machinery::{
    CompiledTemplate, Instruction, Instructions, TemplateConfig, Vm, WhitespaceConfig,
    make_string_output,
};
use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, context};
use std::sync::Arc;

use super::budget::Budget;
use super::{FUEL, MAX_NESTING, MAX_OUTPUT_BYTES, NAME, OutputFull, python, refuse};

/// Names that no template can write.
const CONCAT: &str = "\u{1}concat";
const ADD: &str = "\u{1}add";
const MULTIPLY: &str = "\u{1}multiply";
const MADE: &str = "\u{1}made";
const KEEP: &str = "\u{1}keep";

/// Filters whose result can be much larger than what they are given.
const GROWING: [&str; 5] = ["join", "replace", "indent", "batch", "slice"];

/// Compiles `source`.
pub(super) fn compile(source: &str) -> Result<CompiledTemplate<'_>, Error> {
    let config = TemplateConfig {
        syntax_config: Default::default(),
        // As `transformers` sets up Jinja.
        ws_config: WhitespaceConfig {
            keep_trailing_newline: false,
            lstrip_blocks: true,
            trim_blocks: true,
        },
        default_auto_escape: Arc::new(|_: &str| AutoEscape::None),
    };
    CompiledTemplate::new(NAME, source, &config)
}

/// Renders `source` with `root` as its context.
pub(super) fn render(source: &str, root: Value) -> Result<String, Error> {
    let compiled = compile(source)?;
    let environment = environment();
    let instructions = counted(&compiled.instructions);
    let blocks = compiled
        .blocks
        .iter()
        .map(|(name, block)| (*name, counted(block)))
        .collect();
    let mut text = String::new();
    let mut output = make_string_output(&mut text);
    Vm::new(&environment).eval(&instructions, root, &blocks, &mut output, AutoEscape::None)?;
    drop(output);
    Ok(text)
}

/// The same program with every growing operation counted.
fn counted<'s>(program: &Instructions<'s>) -> Instructions<'s> {
    let filter = |name, arguments| Instruction::ApplyFilter(name, Some(arguments), u8::MAX);
    let mut groups: Vec<Vec<Instruction<'s>>> = Vec::new();
    while let Some(instruction) = program.get(groups.len() as u32) {
        let same = instruction.clone();
        groups.push(match instruction {
            Instruction::StringConcat => vec![filter(CONCAT, 2)],
            Instruction::Add => vec![filter(ADD, 2)],
            Instruction::Mul => vec![filter(MULTIPLY, 2)],
            // The formatter counts what is emitted.
            Instruction::EmitRaw(text) => {
                vec![
                    Instruction::LoadConst(Value::from(*text)),
                    Instruction::Emit,
                ]
            }
            Instruction::ApplyFilter(..)
            | Instruction::CallMethod(..)
            | Instruction::Slice
            | Instruction::BuildMap(_)
            | Instruction::BuildList(_) => vec![same, filter(MADE, 1)],
            // On the stack stand the value and, above it, the namespace.
            Instruction::SetAttr(_) => {
                vec![Instruction::Swap, filter(KEEP, 1), Instruction::Swap, same]
            }
            _ => vec![same],
        });
    }
    let mut starts = Vec::with_capacity(groups.len() + 1);
    let mut length = 0;
    for group in &groups {
        starts.push(length);
        length += group.len() as u32;
    }
    starts.push(length);
    let moved = |target: u32| starts.get(target as usize).copied().unwrap_or(length);
    let mut counted = Instructions::new(program.name(), program.source());
    for (at, group) in groups.into_iter().enumerate() {
        let line = program.get_line(at as u32).unwrap_or(0) as u16;
        for instruction in group {
            let instruction = match instruction {
                Instruction::Iterate(to) => Instruction::Iterate(moved(to)),
                Instruction::Jump(to) => Instruction::Jump(moved(to)),
                Instruction::JumpIfFalse(to) => Instruction::JumpIfFalse(moved(to)),
                Instruction::JumpIfFalseOrPop(to) => Instruction::JumpIfFalseOrPop(moved(to)),
                Instruction::JumpIfTrueOrPop(to) => Instruction::JumpIfTrueOrPop(moved(to)),
                Instruction::BuildMacro(name, to, flags) => {
                    Instruction::BuildMacro(name, moved(to), flags)
                }
                other => other,
            };
            counted.add_with_line(instruction, line);
        }
    }
    counted
}

/// What templates find: minijinja's filters and tests, Python's methods, all under one budget.
fn environment() -> Environment<'static> {
    let budget = Budget::new();
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(MAX_NESTING);
    // Widths in its format make any size of it, and no chat template uses it.
    environment.remove_filter("format");
    environment.remove_filter("pprint");
    environment.add_function("raise_exception", refuse);

    let b = budget.clone();
    environment.add_filter(
        "tojson",
        move |value: &Value, args: Rest<Value>, kwargs: Kwargs| {
            b.size(value)?;
            python::to_json(value, args, kwargs)
        },
    );
    let b = budget.clone();
    environment.set_unknown_method_callback(move |state, value, name, args| {
        if let ("replace" | "join", Some(text)) = (name, value.as_str()) {
            let bound = match (name, args) {
                ("join", [parts, ..]) => joined(&b, parts, text)?,
                ("replace", [from, to, ..]) => replaced(&b, value, from, to)?,
                _ => 0,
            };
            b.make(bound)?;
        }
        python::method(state, value, name, args)
    });
    for name in GROWING {
        let b = budget.clone();
        environment.add_filter(name, move |args: Rest<Value>| {
            b.make(bound(&b, name, &args)?)?;
            PLAIN.with(|plain| plain.empty_state().apply_filter(name, &args))
        });
    }

    let b = budget.clone();
    environment.add_filter(CONCAT, move |left: &Value, right: &Value| {
        let size = b.size(left)?.bytes + b.size(right)?.bytes;
        b.make(size)?;
        Ok::<_, Error>(format!("{left}{right}"))
    });
    let b = budget.clone();
    environment.add_filter(ADD, move |left: &Value, right: &Value| {
        if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
            b.make(left.len() + right.len())?;
            return Ok(Value::from([left, right].concat()));
        }
        let sum = arithmetic("a + b", left, right)?;
        b.made(&sum)?;
        Ok(sum)
    });
    let b = budget.clone();
    environment.add_filter(MULTIPLY, move |left: &Value, right: &Value| {
        for (value, times) in [(left, right), (right, left)] {
            if let Some(times) = times.as_usize()
                && (value.as_str().is_some()
                    || matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable))
            {
                b.make(b.size(value)?.bytes.saturating_mul(times))?;
            }
        }
        arithmetic("a * b", left, right)
    });
    let b = budget.clone();
    environment.add_filter(MADE, move |value: Value| {
        b.made(&value)?;
        Ok::<_, Error>(value)
    });
    let b = budget.clone();
    environment.add_filter(KEEP, move |value: Value| {
        b.keep(&value)?;
        Ok::<_, Error>(value)
    });

    let left = std::sync::atomic::AtomicUsize::new(MAX_OUTPUT_BYTES);
    environment.set_formatter(move |out, state: &State<'_, '_>, value: &Value| {
        let bytes = match value.as_str() {
            Some(text) => text.len(),
            None => budget.size(value)?.bytes,
        };
        let take = |left: usize| left.checked_sub(bytes);
        let order = std::sync::atomic::Ordering::Relaxed;
        left.fetch_update(order, order, take).map_err(|_| {
            Error::new(ErrorKind::WriteFailure, "too much output").with_source(OutputFull)
        })?;
        minijinja::escape_formatter(out, state, value)
    });
    environment
}

thread_local! {
    /// minijinja's own operators and filters.
    static PLAIN: Environment<'static> = Environment::new();
}

/// An operator of minijinja's, which it offers in expressions only.
fn arithmetic(expression: &'static str, a: &Value, b: &Value) -> Result<Value, Error> {
    PLAIN.with(|plain| plain.compile_expression(expression)?.eval(context!(a, b)))
}

/// Bytes that a growing filter can make of its arguments, the first of which is the value.
fn bound(budget: &Budget, name: &str, args: &[Value]) -> Result<usize, Error> {
    let all = budget.sizes(args)?.bytes;
    let widest = args.iter().filter_map(Value::as_usize).max().unwrap_or(0);
    Ok(match (name, args) {
        ("join", [parts, between, ..]) => joined(budget, parts, &between.to_string())?,
        ("replace", [text, from, to, ..]) => replaced(budget, text, from, to)?,
        // By name or place, the width is one of the numbers; `indent` puts it before each line.
        ("indent", [text, rest @ ..]) => {
            let named = rest.iter().filter_map(|arg| {
                let width = arg.get_attr("width").ok()?;
                width.as_usize()
            });
            let width = named.max().unwrap_or(0).max(widest).max(4);
            let lines = text
                .as_str()
                .map_or(1, |text| text.matches('\n').count() + 1);
            all.saturating_add(lines.saturating_mul(width))
        }
        ("batch" | "slice", _) => all.saturating_add(widest.saturating_mul(32)),
        _ => all,
    })
}

fn joined(budget: &Budget, parts: &Value, between: &str) -> Result<usize, Error> {
    let count = match parts.as_str() {
        Some(text) => text.chars().count(),
        None => parts.len().unwrap_or(0),
    };
    Ok(budget
        .size(parts)?
        .bytes
        .saturating_add(count.saturating_mul(between.len())))
}

fn replaced(budget: &Budget, text: &Value, from: &Value, to: &Value) -> Result<usize, Error> {
    let text = budget.size(text)?.bytes;
    let times = text / from.as_str().map_or(1, str::len).max(1) + 1;
    Ok(text.saturating_add(times.saturating_mul(budget.size(to)?.bytes)))
}

//! Operators on cases drawn at random, held against a reference of their own in f64, on the CPU and the GPU.
//!
//! A GPU is asked for where there is one (a software one does); without, the test says so.

use std::ops::ControlFlow;

use fewbit_engine::backend::{BackendError, NumericPolicy};
use fewbit_engine::format::Checkpoint;
use fewbit_engine::graph::Bindings;
use fewbit_engine::session::{Session, SessionError, WeightSource};
use fewbit_engine::tensor::Tensor;
use fewbit_native_backends::NativeTarget;
use fewbit_webnn::{Builder, Operand, Value, pairs};

use fewbit_webnn_cases::{Arg, CASES, OPERATORS, Operator, T};

#[test]
fn operators_on_the_cpu() {
    let wrong = run_all(NativeTarget::Cpu).unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn operators_on_the_gpu() {
    match run_all(NativeTarget::Wgpu) {
        Ok(wrong) => assert!(wrong.is_empty(), "{}", wrong.join("\n")),
        Err(why) => println!("skipped: no GPU here: {why}"),
    }
}

/// What went wrong, or why the target is not to be had.
fn run_all(target: NativeTarget) -> Result<Vec<String>, String> {
    let only = std::env::var("FEWBIT_WEBNN_OPERATOR").ok();
    let mut wrong = Vec::new();
    for operator in OPERATORS {
        if only.as_ref().is_some_and(|only| only != operator.name) {
            continue;
        }
        match run(operator, target) {
            Ok(found) => wrong.extend(found),
            Err(SessionError::Backend(BackendError::Unavailable(why))) => return Err(why),
            Err(error) => wrong.push(format!("{}: {error}", operator.name)),
        }
    }
    Ok(wrong)
}

/// All cases of an operator as one graph, run once.
fn run(operator: &Operator, target: NativeTarget) -> Result<Vec<String>, SessionError> {
    let name = operator.name;
    let mut builder = Builder::new();
    let mut given: Vec<(String, Tensor)> = Vec::new();
    let mut outputs: Vec<(String, Operand)> = Vec::new();
    let mut wanted: Vec<(T, String)> = Vec::new();
    for (case, drawn) in operator.cases(CASES).into_iter().enumerate() {
        let told = drawn.told();
        let mut value = |arg: &Arg| match arg {
            Arg::Value(value) => value.clone(),
            Arg::Tensor(tensor) => {
                let input = format!("{case}:{}", given.len());
                let operand = builder.input(&input, &tensor.descriptor()).unwrap();
                given.push((input, tensor.tensor()));
                Value::from(operand)
            }
        };
        let mut arguments: Vec<Value> = drawn.arguments.iter().map(&mut value).collect();
        let options = drawn.options.iter();
        let options = options.map(|(name, arg)| ((*name).to_owned(), value(arg)));
        arguments.push(Value::Object(options.collect()));
        let made = match builder.call(name, &arguments) {
            Ok(made) => made,
            Err(error) => return Ok(vec![format!("{told}: {error}")]),
        };
        assert_eq!(made.len(), drawn.expected.len(), "{told}");
        for (at, (operand, expected)) in made.into_iter().zip(drawn.expected).enumerate() {
            outputs.push((format!("{case}.{at}"), operand));
            wanted.push((expected, told.clone()));
        }
    }
    let named: Vec<(&str, Operand)> = outputs.iter().map(|(n, o)| (n.as_str(), *o)).collect();
    let built = builder.build(&named).unwrap();
    let split = target == NativeTarget::Wgpu && pairs::needed(&built.graph);
    let graph = match split {
        true => match pairs::split(&built.graph) {
            Ok(graph) => graph,
            Err(error) => return Ok(vec![format!("{name}: {error}")]),
        },
        false => built.graph,
    };
    given.retain(|(name, _)| built.inputs.iter().any(|(needed, _)| needed == name));
    if split {
        for (_, tensor) in &mut given {
            *tensor = pairs::to_words(tensor).unwrap();
        }
    }
    let source = WeightSource {
        checkpoint: Checkpoint::default(),
        files: Vec::new(),
    };
    let device = target.device(NumericPolicy::default(), Some(1)).unwrap();
    let mut go_on = |_| ControlFlow::Continue(());
    let mut session = pollster::block_on(Session::open(device, graph, source, &mut go_on))?;
    let inputs: Vec<(&str, &Tensor)> = given.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let names: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
    let bindings = Bindings::new();
    let got = pollster::block_on(session.run(&bindings, &inputs, &names))?;
    let mut wrong = Vec::new();
    for (got, (wanted, told)) in got.iter().zip(&wanted) {
        let got = pairs::from_words(got, wanted.data_type.engine()).unwrap();
        if let Some(difference) = wanted.difference(&got, operator.ulp, operator.absolute) {
            wrong.push(format!("{name} {told}: {difference}"));
        }
    }
    // A few of many tell enough.
    wrong.truncate(3);
    Ok(wrong)
}

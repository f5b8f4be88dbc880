//! A graph without states run once from named tensors to named tensors.

use super::encoder::run_recovering;
use super::forward::{ForwardError, Named, integers, shape_fault};
use crate::graph::pass::prune_inputs;
use crate::graph::{Bindings, Dim, Graph, Shape, Source};
use crate::model::Feedforward;
use crate::session::{Session, SessionError, WeightSource};
use crate::tensor::{DataType, Tensor};

/// Runs a model of the kind [`ModelKind::Feedforward`](crate::model::ModelKind::Feedforward).
///
/// Where numbers in inputs decide shapes there may be several graphs of it, each a part of the session.
pub struct FeedforwardRunner {
    session: Session,
    graphs: Vec<OneGraph>,
    clock: u64,
}

/// So many graphs of a model are kept; of those after the first, the least recently used goes.
const MOST_GRAPHS: usize = 8;

struct OneGraph {
    part: usize,
    model: Feedforward,
    last_used: u64,
}

/// An input as the graph wants it.
struct Wanted {
    name: String,
    data_type: DataType,
    shape: Shape,
}

impl FeedforwardRunner {
    pub fn new(session: Session, model: Feedforward) -> FeedforwardRunner {
        let first = OneGraph {
            part: 0,
            model,
            last_used: 0,
        };
        FeedforwardRunner {
            session,
            graphs: vec![first],
            clock: 0,
        }
    }

    pub fn model(&self) -> &Feedforward {
        &self.graphs[0].model
    }

    /// Adds a graph for other numbers in inputs, over the same weights.
    pub(super) async fn add(
        &mut self,
        (graph, model): (Graph, Feedforward),
        source: &WeightSource,
    ) -> Result<(), SessionError> {
        let rest = 1..self.graphs.len();
        if self.graphs.len() >= MOST_GRAPHS
            && let Some(oldest) = rest.min_by_key(|&at| self.graphs[at].last_used)
        {
            self.session.drop_part(self.graphs.remove(oldest).part);
        }
        let part = self.session.add_part(graph, source).await?;
        self.graphs.push(OneGraph {
            part,
            model,
            last_used: self.clock,
        });
        Ok(())
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The outputs of these names (all, if none is named). Only what they need is computed, and only the
    /// inputs they need must be given; other tensors among `inputs` are not looked at.
    ///
    /// Integers of any width go where the graph wants integers, floats of any width where it wants floats.
    ///
    /// # Errors
    /// An output the graph has not; an input that is missing, of the wrong kind of number, rank or size, or
    /// beyond the model's limits; and what a session can say.
    pub async fn run(&mut self, inputs: &Named, outputs: &[String]) -> Result<Named, ForwardError> {
        self.clock += 1;
        let mut at = 0;
        loop {
            match self.run_graph(at, inputs, outputs).await {
                Err(ForwardError::OtherNumbers(_)) if at + 1 < self.graphs.len() => at += 1,
                result => return result,
            }
        }
    }

    async fn run_graph(
        &mut self,
        at: usize,
        inputs: &Named,
        outputs: &[String],
    ) -> Result<Named, ForwardError> {
        let clock = self.clock;
        let OneGraph {
            part,
            model,
            last_used,
        } = &mut self.graphs[at];
        for (name, assumed) in &model.assumed {
            if inputs.get(name).is_some_and(|given| !same(given, assumed)) {
                return Err(ForwardError::OtherNumbers(format!(
                    "other numbers in {name}"
                )));
            }
        }
        let graph = self.session.part(*part)?;
        if let Some(unknown) = outputs
            .iter()
            .find(|name| !graph.outputs.iter().any(|(known, _)| known == *name))
        {
            return Err(ForwardError::UnknownOutput(unknown.clone()));
        }
        let names: Vec<String> = match outputs {
            [] => graph.outputs.iter().map(|(name, _)| name.clone()).collect(),
            some => some.to_vec(),
        };
        let wanted = wanted_inputs(graph, &names);
        let (tensors, mut bindings) = bind(model, &wanted, inputs)?;
        if !model.counts.is_empty() {
            count(model, inputs, &mut bindings)?;
            // A number that decides no size is no other plan.
            let symbols = graph.symbols();
            bindings.retain(|symbol, _| symbols.contains(symbol));
        }
        let given: Vec<(&str, &Tensor)> = wanted
            .iter()
            .zip(&tensors)
            .map(|(wanted, tensor)| (wanted.name.as_str(), tensor))
            .collect();
        let read: Vec<&str> = names.iter().map(String::as_str).collect();
        *last_used = clock;
        let ran = run_recovering(&mut self.session, *part, &bindings, &given, &read).await;
        let results = ran.map_err(|error| match error {
            // Sizes that shapes do not fit, as where a slice ends behind its axis.
            SessionError::Graph(error) if !model.counts.is_empty() => {
                ForwardError::OtherNumbers(error.to_string())
            }
            error => error.into(),
        })?;
        Ok(names.into_iter().zip(results).collect())
    }
}

fn same(a: &Tensor, b: &Tensor) -> bool {
    a.shape() == b.shape() && a.to_f64_vec() == b.to_f64_vec()
}

/// The inputs that the outputs of these names need.
fn wanted_inputs(graph: &Graph, outputs: &[String]) -> Vec<Wanted> {
    let mut part = graph.clone();
    part.outputs.retain(|(name, _)| outputs.contains(name));
    let part = prune_inputs(&part);
    let inputs = part.inputs.iter().map(|&id| part.value(id));
    inputs
        .filter_map(|value| match (&value.source, value.element.plain()) {
            (Source::Input(name), Some(data_type)) => Some(Wanted {
                name: name.clone(),
                data_type,
                shape: value.shape.clone(),
            }),
            _ => None,
        })
        .collect()
}

/// The tensors for `wanted`, in its order and its types, and what their shapes say of the symbols.
fn bind(
    model: &Feedforward,
    wanted: &[Wanted],
    inputs: &Named,
) -> Result<(Vec<Tensor>, Bindings), ForwardError> {
    let mut bindings = Bindings::new();
    let given: Vec<Option<&Tensor>> = wanted.iter().map(|w| inputs.get(&w.name)).collect();
    for (wanted, tensor) in wanted.iter().zip(&given) {
        let Some(tensor) = tensor else { continue };
        if tensor.shape().len() != wanted.shape.len() {
            return Err(shape_fault(&wanted.name, tensor, &shown(&wanted.shape)));
        }
        for (dim, &size) in wanted.shape.iter().zip(tensor.shape()) {
            if let Some(symbol) = dim.as_symbol() {
                bindings.entry(symbol.to_owned()).or_insert(size);
            }
        }
    }
    for (wanted, tensor) in wanted.iter().zip(&given) {
        let Some(tensor) = tensor else { continue };
        check_shape(model, wanted, tensor, &bindings)?;
    }
    let tensors: Result<Vec<Tensor>, ForwardError> = wanted
        .iter()
        .zip(&given)
        .map(|(wanted, tensor)| match tensor {
            Some(tensor) => convert(wanted, tensor),
            None => default(model, wanted, &bindings),
        })
        .collect();
    Ok((tensors?, bindings))
}

/// What the numbers in inputs say of the symbols that they tell, and the room for what is so many.
fn count(model: &Feedforward, inputs: &Named, bindings: &mut Bindings) -> Result<(), ForwardError> {
    for count in &model.counts {
        let name = &count.input;
        let given = inputs.get(name);
        let tensor = given.ok_or_else(|| ForwardError::Missing(name.clone()))?;
        let number = tensor.to_f64_vec().get(count.at).copied().unwrap_or(-1.0);
        let size = number as usize;
        if size as f64 != number {
            let message = format!("input {name}: {number} is no size");
            return Err(ForwardError::OtherNumbers(message));
        }
        bindings.insert(count.symbol.clone(), size);
    }
    for room in &model.rooms {
        let size = room.of.bind(bindings).ok().and_then(|of| of.fixed());
        let found = size.and_then(|size| room.size(size)).ok_or_else(|| {
            let message = format!("{} with {bindings:?}: more than {}", room.of, room.most);
            ForwardError::OtherNumbers(message)
        });
        bindings.insert(room.symbol.clone(), found?);
    }
    Ok(())
}

fn check_shape(
    model: &Feedforward,
    wanted: &Wanted,
    tensor: &Tensor,
    bindings: &Bindings,
) -> Result<(), ForwardError> {
    for (dim, &size) in wanted.shape.iter().zip(tensor.shape()) {
        let bound = dim.bind(bindings).ok().and_then(|dim| dim.fixed());
        // Nothing at all is only taken where the graph itself says so.
        let empty = size == 0 && dim.fixed() != Some(0);
        if empty || bound != Some(size) {
            return Err(shape_fault(&wanted.name, tensor, &shown(&wanted.shape)));
        }
        let limit = dim.as_symbol().and_then(|symbol| model.limit(symbol));
        if let Some(limit) = limit.filter(|&limit| size > limit) {
            let symbols = shown(&wanted.shape);
            let message = format!("{symbols} with {dim} at most {limit}");
            return Err(shape_fault(&wanted.name, tensor, &message));
        }
    }
    Ok(())
}

fn default(
    model: &Feedforward,
    wanted: &Wanted,
    bindings: &Bindings,
) -> Result<Tensor, ForwardError> {
    let missing = || ForwardError::Missing(wanted.name.clone());
    let found = model.defaults.iter().find(|(name, _)| *name == wanted.name);
    let &(_, fill) = found.ok_or_else(missing)?;
    let shape: Option<Vec<usize>> = wanted
        .shape
        .iter()
        .map(|dim| dim.bind(bindings).ok().and_then(|dim| dim.fixed()))
        .collect();
    let shape = shape.ok_or_else(missing)?;
    let count = shape.iter().product();
    Ok(Tensor::from_i32(&shape, &vec![fill; count])?)
}

fn convert(wanted: &Wanted, tensor: &Tensor) -> Result<Tensor, ForwardError> {
    match wanted.data_type {
        given if given == tensor.data_type() => Ok(tensor.clone()),
        DataType::I32 => integers(&wanted.name, tensor),
        DataType::I64 if tensor.data_type() == DataType::I32 => {
            let values: Vec<i64> = tensor.as_i32()?.iter().map(|&x| i64::from(x)).collect();
            Ok(Tensor::from_i64(tensor.shape(), &values)?)
        }
        DataType::F32 if tensor.data_type().is_float() => {
            let values: Vec<f32> = tensor.to_f64_vec().iter().map(|&x| x as f32).collect();
            Ok(Tensor::from_f32(tensor.shape(), &values)?)
        }
        other => Err(ForwardError::Input {
            name: wanted.name.clone(),
            message: format!("{} given, {other} wanted", tensor.data_type()),
        }),
    }
}

fn shown(shape: &[Dim]) -> String {
    format!("{shape:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::GraphBuilder;

    /// Two towers: `sum` of tokens and mask, `image` as it is.
    fn towers() -> (Graph, Feedforward) {
        let mut b = GraphBuilder::new();
        let tokens = vec![Dim::symbol("texts"), Dim::symbol("tokens")];
        let ids = b.input("input_ids", DataType::I32, tokens.clone()).unwrap();
        let mask = b.input("attention_mask", DataType::I32, tokens).unwrap();
        let shape = vec![Dim::symbol("images"), Dim::from(3), Dim::symbol("width")];
        let pixels = b.input("pixel_values", DataType::F32, shape).unwrap();
        let sum = b.add_values(ids, mask).unwrap();
        b.output("sum", sum).unwrap();
        let image = b.unary(crate::graph::op::Unary::Relu, pixels).unwrap();
        b.output("image", image).unwrap();
        let model = Feedforward {
            defaults: vec![("attention_mask".into(), 1)],
            limits: vec![("tokens".into(), 4)],
            ..Feedforward::default()
        };
        (b.finish(), model)
    }

    fn try_bind(
        output: &str,
        inputs: &[(&str, Tensor)],
    ) -> Result<(Vec<Tensor>, Bindings), ForwardError> {
        let (graph, model) = towers();
        let wanted = wanted_inputs(&graph, &[output.to_owned()]);
        let given = inputs.iter().map(|(n, t)| ((*n).to_owned(), t.clone()));
        bind(&model, &wanted, &given.collect())
    }

    #[test]
    fn only_what_an_output_needs_is_asked_for_and_the_rest_is_filled_in() {
        let ids = Tensor::from_i64(&[1, 3], &[7, 8, 9]).unwrap();
        let (tensors, bindings) = try_bind("sum", &[("input_ids", ids)]).unwrap();
        assert_eq!(tensors[0].as_i32().unwrap(), [7, 8, 9]);
        assert_eq!(tensors[1].as_i32().unwrap(), [1, 1, 1]);
        assert_eq!(
            bindings,
            Bindings::from([("texts".into(), 1), ("tokens".into(), 3)])
        );
        let pixels = Tensor::zeros(DataType::F16, &[1, 3, 2]).unwrap();
        let (tensors, _) = try_bind("image", &[("pixel_values", pixels)]).unwrap();
        assert_eq!(tensors.len(), 1);
        assert_eq!(tensors[0].data_type(), DataType::F32);
    }

    #[test]
    fn what_does_not_fit_is_an_error_that_names_the_input() {
        let i = |shape: &[usize]| Tensor::zeros(DataType::I64, shape).unwrap();
        let f = |shape: &[usize]| Tensor::zeros(DataType::F32, shape).unwrap();
        for (output, inputs, told) in [
            ("sum", vec![], "input input_ids is missing"),
            (
                "sum",
                vec![("attention_mask", i(&[1, 2]))],
                "input_ids is missing",
            ),
            (
                "sum",
                vec![("input_ids", i(&[2]))],
                "[texts, tokens] wanted",
            ),
            ("sum", vec![("input_ids", i(&[1, 5]))], "tokens at most 4"),
            ("sum", vec![("input_ids", i(&[1, 0]))], "[1, 0] given"),
            ("sum", vec![("input_ids", f(&[1, 2]))], "integers wanted"),
            (
                "sum",
                vec![("input_ids", i(&[1, 2])), ("attention_mask", i(&[1, 3]))],
                "attention_mask",
            ),
            (
                "image",
                vec![("pixel_values", f(&[1, 4, 2]))],
                "[1, 4, 2] given",
            ),
            (
                "image",
                vec![("pixel_values", i(&[1, 3, 2]))],
                "i64 given, f32 wanted",
            ),
        ] {
            let error = try_bind(output, &inputs).unwrap_err().to_string();
            assert!(error.contains(told), "{error}: not {told}");
        }
    }
}

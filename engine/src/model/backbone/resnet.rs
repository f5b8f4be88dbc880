//! ResNet (He et al. 2015) with batch norms that are frozen: each is a factor and a shift a channel.
//!
//! Checkpoints name its tensors as `timm` does (`layer1.0.conv1`) or as `transformers` does
//! (`encoder.stages.0.layers.0.layer.0.convolution`); the network is the same.

use crate::graph::op::{Binary, PoolKind, Unary, Window};
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::model::block::Activation;
use crate::model::{Config, ConfigError, ModelError, Weights, config};

/// Added to the variance of every batch norm.
const EPSILON: f32 = 1e-5;

/// More stages or blocks than any ResNet has.
const MOST: usize = 1 << 10;

/// The network's sizes and the names of its tensors.
#[derive(Clone, Debug)]
pub struct ResNet {
    naming: Naming,
    channels: usize,
    /// Channels after the first convolution.
    stem: usize,
    stages: Vec<Stage>,
    bottleneck: bool,
    activation: Activation,
    /// The first convolution of a bottleneck takes the stride instead of the second.
    early_stride: bool,
}

#[derive(Clone, Copy, Debug)]
struct Stage {
    blocks: usize,
    outputs: usize,
    stride: usize,
    /// Of the windows of the first block, and of the others.
    dilations: [usize; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    Timm,
    Transformers,
}

/// One convolution and its norm.
struct Layer {
    convolution: String,
    norm: String,
    inputs: usize,
    outputs: usize,
    size: usize,
    stride: usize,
    dilation: usize,
}

impl ResNet {
    /// From `backbone_config` of the model type `resnet`, in `transformers`' names.
    pub fn from_config(config: &Config) -> Result<ResNet, ModelError> {
        let sizes = sizes(config, "hidden_sizes", &[256, 512, 1024, 2048])?;
        let depths = sizes_of(config, "depths", &[3, 4, 6, 3], sizes.len())?;
        let bottleneck = match config.get("layer_type").map(|kind| kind.as_str()) {
            None | Some(Some("bottleneck")) => true,
            Some(Some("basic")) => false,
            Some(_) => {
                let got = config.str("layer_type").unwrap_or("no string");
                return Err(ConfigError::Value {
                    key: "layer_type".into(),
                    got: got.into(),
                    wanted: "bottleneck or basic",
                }
                .into());
            }
        };
        check_last_stage(config, sizes.len())?;
        let first_stride = match config.bool_or("downsample_in_first_stage", false)? {
            true => 2,
            false => 1,
        };
        let stages = sizes.iter().zip(depths).enumerate();
        let stages = stages.map(|(number, (&outputs, blocks))| Stage {
            blocks,
            outputs,
            stride: if number == 0 { first_stride } else { 2 },
            dilations: [1, 1],
        });
        Ok(ResNet {
            naming: Naming::Transformers,
            channels: config.size_or("num_channels", 3)?,
            stem: config.size_or("embedding_size", 64)?,
            stages: stages.collect(),
            bottleneck,
            activation: Activation::from_config(config, "hidden_act", "relu")?,
            early_stride: config.bool_or("downsample_in_bottleneck", false)?,
        })
    }

    /// One of `timm`'s by its name, such as `resnet50`; `dilated` keeps the last stage at the size of the one before it.
    pub fn named(name: &str, channels: usize, dilated: bool) -> Result<ResNet, ModelError> {
        let (bottleneck, depths) = match name {
            "resnet18" => (false, [2, 2, 2, 2]),
            "resnet34" => (false, [3, 4, 6, 3]),
            "resnet50" => (true, [3, 4, 6, 3]),
            "resnet101" => (true, [3, 4, 23, 3]),
            "resnet152" => (true, [3, 8, 36, 3]),
            other => {
                return Err(ConfigError::Value {
                    key: "backbone".into(),
                    got: other.to_owned(),
                    wanted: "resnet18, 34, 50, 101 or 152",
                }
                .into());
            }
        };
        let expansion = if bottleneck { 4 } else { 1 };
        let stages = [64, 128, 256, 512].into_iter().zip(depths).enumerate();
        let stages = stages.map(|(number, (width, blocks))| {
            let last = number == 3 && dilated;
            Stage {
                blocks,
                outputs: width * expansion,
                stride: if number == 0 || last { 1 } else { 2 },
                dilations: [1, if last { 2 } else { 1 }],
            }
        });
        Ok(ResNet {
            naming: Naming::Timm,
            channels,
            stem: 64,
            stages: stages.collect(),
            bottleneck,
            activation: Activation::Relu,
            early_stride: false,
        })
    }

    /// Takes the names that a checkpoint has, whichever its config speaks of.
    pub fn with_names_of(mut self, weights: &Weights<'_>, prefix: &str) -> ResNet {
        self.naming = match weights.contains(&format!("{prefix}conv1.weight")) {
            true => Naming::Timm,
            false => Naming::Transformers,
        };
        self
    }

    /// Channels of the last stage.
    pub fn outputs(&self) -> usize {
        self.stages.last().map_or(self.stem, |stage| stage.outputs)
    }

    /// `pixels [batch, channels, height, width]` → the last stage's `[batch, outputs, height', width']`.
    pub fn apply(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        prefix: &str,
        pixels: ValueId,
    ) -> Result<ValueId, ModelError> {
        let (convolution, norm) = match self.naming {
            Naming::Timm => ("conv1", "bn1"),
            Naming::Transformers => (
                "embedder.embedder.convolution",
                "embedder.embedder.normalization",
            ),
        };
        let stem = Layer {
            convolution: format!("{prefix}{convolution}"),
            norm: format!("{prefix}{norm}"),
            inputs: self.channels,
            outputs: self.stem,
            size: 7,
            stride: 2,
            dilation: 1,
        };
        let x = stem.apply(b, weights, pixels)?;
        let x = self.activation.apply(b, x)?;
        let window = Window {
            padding: [1; 4],
            strides: [2; 2],
            ..Window::default()
        };
        let mut x = b.pool2d(PoolKind::Max, x, [3, 3], window)?;
        let mut inputs = self.stem;
        for (number, stage) in self.stages.iter().enumerate() {
            for block in 0..stage.blocks {
                x = self.block(b, weights, prefix, (number, block), inputs, x)?;
                inputs = stage.outputs;
            }
        }
        Ok(x)
    }

    /// `activation(layers(x) + shortcut(x))`
    fn block(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        prefix: &str,
        (number, block): (usize, usize),
        inputs: usize,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        let stage = self.stages[number];
        let (stride, dilation) = match block {
            0 => (stage.stride, stage.dilations[0]),
            _ => (1, stage.dilations[1]),
        };
        let name = |part: Part| self.name(prefix, number, block, part);
        let layer = |at: usize, inputs, outputs, size, stride, dilation| {
            let (convolution, norm) = name(Part::Layer(at));
            Layer {
                convolution,
                norm,
                inputs,
                outputs,
                size,
                stride,
                dilation,
            }
        };
        let outputs = stage.outputs;
        let layers = if self.bottleneck {
            let narrow = outputs / 4;
            let (first, second) = match self.early_stride {
                true => (stride, 1),
                false => (1, stride),
            };
            vec![
                layer(0, inputs, narrow, 1, first, 1),
                layer(1, narrow, narrow, 3, second, dilation),
                layer(2, narrow, outputs, 1, 1, 1),
            ]
        } else {
            vec![
                layer(0, inputs, outputs, 3, stride, dilation),
                layer(1, outputs, outputs, 3, 1, dilation),
            ]
        };
        let mut y = x;
        for (at, layer) in layers.iter().enumerate() {
            if at > 0 {
                y = self.activation.apply(b, y)?;
            }
            y = layer.apply(b, weights, y)?;
        }
        let mut kept = x;
        if inputs != outputs || stride != 1 {
            let (convolution, norm) = name(Part::Shortcut);
            let shortcut = Layer {
                convolution,
                norm,
                inputs,
                outputs,
                size: 1,
                stride,
                dilation: 1,
            };
            kept = shortcut.apply(b, weights, x)?;
        }
        let sum = b.add_values(y, kept)?;
        Ok(self.activation.apply(b, sum)?)
    }

    /// The names of a convolution and its norm.
    fn name(&self, prefix: &str, stage: usize, block: usize, part: Part) -> (String, String) {
        match self.naming {
            Naming::Timm => {
                let at = format!("{prefix}layer{}.{block}", stage + 1);
                match part {
                    Part::Layer(n) => (format!("{at}.conv{}", n + 1), format!("{at}.bn{}", n + 1)),
                    Part::Shortcut => (format!("{at}.downsample.0"), format!("{at}.downsample.1")),
                }
            }
            Naming::Transformers => {
                let at = format!("{prefix}encoder.stages.{stage}.layers.{block}");
                let at = match part {
                    Part::Layer(n) => format!("{at}.layer.{n}"),
                    Part::Shortcut => format!("{at}.shortcut"),
                };
                (format!("{at}.convolution"), format!("{at}.normalization"))
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Part {
    Layer(usize),
    Shortcut,
}

impl Layer {
    /// A convolution without bias, as large as its input but for the stride, and its norm.
    fn apply(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        let shape = [self.outputs, self.inputs, self.size, self.size];
        let filter = weights.filter(b, &format!("{}.weight", self.convolution), &shape)?;
        let window = Window {
            padding: [self.size / 2 * self.dilation; 4],
            strides: [self.stride; 2],
            dilations: [self.dilation; 2],
        };
        let y = b.conv2d(x, filter, None, window, 1)?;
        self.normalize(b, weights, y)
    }

    /// `(y − mean) / √(variance + ε) · scale + bias` a channel, as one factor and one shift.
    fn normalize(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        y: ValueId,
    ) -> Result<ValueId, ModelError> {
        let vector = |b: &mut GraphBuilder, part: &str| {
            weights.vector(b, &format!("{}.{part}", self.norm), self.outputs)
        };
        let scale = vector(b, "weight")?;
        let bias = vector(b, "bias")?;
        let mean = vector(b, "running_mean")?;
        let variance = vector(b, "running_var")?;
        let epsilon = b.number(EPSILON)?;
        let shifted = b.add_values(variance, epsilon)?;
        let deviation = b.unary(Unary::Sqrt, shifted)?;
        let factor = b.binary(Binary::Div, scale, deviation)?;
        let moved = b.mul(mean, factor)?;
        let shift = b.binary(Binary::Sub, bias, moved)?;
        let by_channel = [self.outputs, 1, 1].map(Dim::from).to_vec();
        let factor = b.reshape(factor, by_channel.clone())?;
        let shift = b.reshape(shift, by_channel)?;
        let y = b.mul(y, factor)?;
        Ok(b.add_values(y, shift)?)
    }
}

/// A list of sizes.
fn sizes(config: &Config, key: &str, default: &[usize]) -> Result<Vec<usize>, ConfigError> {
    let Some(value) = config.get(key) else {
        return Ok(default.to_vec());
    };
    let one = |value: &serde_json::Value| {
        value
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .filter(|n| (1..1 << 31).contains(n))
    };
    let list = value
        .as_array()
        .filter(|list| (1..=MOST).contains(&list.len()));
    list.and_then(|list| list.iter().map(one).collect())
        .ok_or_else(|| config::wrong(key, value, "a list of sizes"))
}

fn sizes_of(
    config: &Config,
    key: &str,
    default: &[usize],
    count: usize,
) -> Result<Vec<usize>, ConfigError> {
    let list = sizes(config, key, default)?;
    if list.len() != count {
        return Err(ConfigError::Value {
            key: key.into(),
            got: format!("{} numbers", list.len()),
            wanted: "as many as hidden_sizes",
        });
    }
    Ok(list)
}

/// Only the last stage is given out.
fn check_last_stage(config: &Config, stages: usize) -> Result<(), ConfigError> {
    let Some(value) = config.get("out_features") else {
        return Ok(());
    };
    let last = format!("stage{stages}");
    match value.as_array().and_then(|list| list.last()) {
        Some(name) if name.as_str() == Some(&last) => Ok(()),
        _ => Err(config::wrong("out_features", value, "the last stage")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::backend::cpu::reference::{View, evaluate_graph};
    use crate::format::{Checkpoint, TensorEntry};
    use crate::graph::Bindings;
    use crate::tensor::{DataType, Tensor};

    const SIDE: usize = 64;

    /// A small bottleneck network of `timm`'s naming.
    fn network(dilated: bool) -> ResNet {
        let stages = [8, 12, 16, 24].into_iter().enumerate();
        let stages = stages.map(|(number, outputs)| {
            let last = dilated && number == 3;
            Stage {
                blocks: 2,
                outputs,
                stride: if number == 0 || last { 1 } else { 2 },
                dilations: [1, if last { 2 } else { 1 }],
            }
        });
        ResNet {
            naming: Naming::Timm,
            channels: 3,
            stem: 4,
            stages: stages.collect(),
            bottleneck: true,
            activation: Activation::Relu,
            early_stride: false,
        }
    }

    /// Its tensors, of numbers that have no pattern.
    fn tensors() -> BTreeMap<String, Tensor> {
        let mut shapes = vec![("conv1", [4, 3, 7, 7], "bn1")]
            .into_iter()
            .map(|(conv, shape, norm)| (conv.to_owned(), shape, norm.to_owned()))
            .collect::<Vec<_>>();
        let mut inputs = 4;
        for (stage, outputs) in [8, 12, 16, 24].into_iter().enumerate() {
            let narrow = outputs / 4;
            for block in 0..2 {
                let at = format!("layer{}.{block}", stage + 1);
                let mut layer = |conv: &str, shape, norm: &str| {
                    shapes.push((format!("{at}.{conv}"), shape, format!("{at}.{norm}")));
                };
                layer("conv1", [narrow, inputs, 1, 1], "bn1");
                layer("conv2", [narrow, narrow, 3, 3], "bn2");
                layer("conv3", [outputs, narrow, 1, 1], "bn3");
                if block == 0 {
                    layer("downsample.0", [outputs, inputs, 1, 1], "downsample.1");
                }
                inputs = outputs;
            }
        }
        let mut state = 1u32;
        let mut draw = |shape: &[usize], least: f32| {
            let count = shape.iter().product();
            let values: Vec<f32> = (0..count)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    least + (state >> 8) as f32 / (1 << 23) as f32
                })
                .collect();
            Tensor::from_f32(shape, &values).unwrap()
        };
        let mut tensors = BTreeMap::new();
        for (conv, shape, norm) in shapes {
            tensors.insert(format!("{conv}.weight"), draw(&shape, -1.0));
            for (part, least) in [
                ("weight", 0.5),
                ("bias", -1.0),
                ("running_mean", -1.0),
                ("running_var", 0.5),
            ] {
                tensors.insert(format!("{norm}.{part}"), draw(&shape[..1], least));
            }
        }
        tensors.insert("pixels".into(), draw(&[1, 3, SIDE, SIDE], -1.0));
        tensors
    }

    fn features(network: &ResNet, tensors: &BTreeMap<String, Tensor>) -> Tensor {
        let entries = tensors.iter().map(|(name, tensor)| {
            let entry = TensorEntry {
                name: name.clone(),
                element: tensor.data_type().into(),
                shape: tensor.shape().to_vec(),
                file: 0,
                offset: 0,
                bytes: tensor.bytes().len() as u64,
            };
            (name.clone(), entry)
        });
        let checkpoint = Checkpoint {
            tensors: entries.collect(),
            ..Checkpoint::default()
        };
        let mut b = GraphBuilder::new();
        let sizes = [1, 3, SIDE, SIDE].map(Dim::from).to_vec();
        let pixels = b.input("pixels", DataType::F32, sizes).unwrap();
        let weights = Weights::new(&checkpoint);
        let network = network.clone().with_names_of(&weights, "");
        let out = network.apply(&mut b, &weights, "", pixels).unwrap();
        b.output("features", out).unwrap();
        let graph = b.finish().specialize(&Bindings::new()).unwrap();
        let given = tensors
            .iter()
            .map(|(name, t)| (name.clone(), View::from(t)));
        let mut made = evaluate_graph(&graph, &given.collect()).unwrap();
        made.outputs.remove("features").unwrap()
    }

    /// Instead of halving the size, the dilated last stage looks twice as far: every second place has what the other
    /// network computes (the "DC5" of DETR's paper; Holschneider et al. 1989).
    #[test]
    fn a_dilated_stage_has_the_other_in_every_second_place() {
        let tensors = tensors();
        let strided = features(&network(false), &tensors);
        let dilated = features(&network(true), &tensors);
        assert_eq!(strided.shape(), [1, 24, 2, 2]);
        assert_eq!(dilated.shape(), [1, 24, 4, 4]);
        let (strided, dilated) = (strided.to_f64_vec(), dilated.to_f64_vec());
        assert!(strided.iter().any(|&x| x > 0.1), "{strided:?}");
        for channel in 0..24 {
            for (row, column) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let expected = strided[channel * 4 + row * 2 + column];
                let got = dilated[channel * 16 + row * 8 + column * 2];
                let error = (got - expected).abs() / (1.0 + expected.abs());
                assert!(error < 1e-5, "{channel} {row} {column}: {got} {expected}");
            }
        }
    }
}

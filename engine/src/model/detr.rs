//! DETR (Carion et al. 2020): a ResNet's last features through a transformer whose decoder asks, with learned
//! queries, for objects; each query answers with a class and a box.

use super::backbone::resnet::ResNet;
use super::block::{
    Activation, FeedForward, Linear, MultiHead, Norm, NormOrder, Residual, mask_bias, to_tokens,
};
use super::image_config::{MOST_PIXELS, label_count};
use super::{BuiltModel, Config, ConfigError, Feedforward, ModelError, ModelKind, Weights, config};
use crate::graph::op::{Binary, Compare, CumulativeSum, Op, ReduceKind, Unary, Window};
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::tensor::{DataType, Tensor};

const BACKBONE: &str = "model.backbone.conv_encoder.model.";

/// What layer norms add to the variance.
const EPSILON: f32 = 1e-5;

struct DetrConfig {
    hidden: usize,
    queries: usize,
    labels: usize,
    encoder: Stack,
    decoder: Stack,
    activation: Activation,
}

/// Sizes of the encoder or the decoder.
struct Stack {
    layers: usize,
    heads: usize,
    feed_forward: usize,
}

impl DetrConfig {
    fn read(config: &Config) -> Result<DetrConfig, ModelError> {
        let hidden = config.size("d_model")?;
        if !hidden.is_multiple_of(4) {
            return Err(wrong("d_model", hidden, "a multiple of 4"));
        }
        if let Some(kind) = config.get("position_embedding_type")
            && kind.as_str() != Some("sine")
        {
            return Err(config::wrong("position_embedding_type", kind, "sine").into());
        }
        let stack = |part: &str| -> Result<Stack, ModelError> {
            let key = format!("{part}_attention_heads");
            let heads = config.size(&key)?;
            if !hidden.is_multiple_of(heads) {
                return Err(wrong(&key, heads, "a divisor of d_model"));
            }
            Ok(Stack {
                layers: config.size(&format!("{part}_layers"))?,
                heads,
                feed_forward: config.size(&format!("{part}_ffn_dim"))?,
            })
        };
        Ok(DetrConfig {
            hidden,
            queries: config.size("num_queries")?,
            labels: label_count(config)?,
            encoder: stack("encoder")?,
            decoder: stack("decoder")?,
            activation: Activation::from_config(config, "activation_function", "relu")?,
        })
    }

    fn residual(&self) -> Residual {
        Residual {
            order: NormOrder::After,
            norm: Norm::layer(self.hidden, EPSILON),
        }
    }

    fn attention(&self, name: &str, heads: usize) -> MultiHead {
        let part = |part: &str| format!("{name}.{part}_proj");
        MultiHead {
            query: part("q"),
            key: part("k"),
            value: part("v"),
            output: part("out"),
            hidden: self.hidden,
            heads,
            head_size: self.hidden / heads,
            scale: MultiHead::usual_scale(self.hidden / heads),
        }
    }

    fn feed_forward(&self, name: &str, inner: usize) -> FeedForward {
        FeedForward {
            gate: None,
            up: format!("{name}.fc1"),
            down: format!("{name}.fc2"),
            hidden: self.hidden,
            inner,
            activation: self.activation,
        }
    }
}

fn wrong(key: &str, got: usize, wanted: &'static str) -> ModelError {
    ConfigError::Value {
        key: key.into(),
        got: got.to_string(),
        wanted,
    }
    .into()
}

/// What the decoder looks at: the encoder's result, where each of its tokens is, and which of them are padding.
#[derive(Clone, Copy)]
struct Memory {
    tokens: ValueId,
    places: ValueId,
    bias: ValueId,
}

pub(super) fn from_config(
    config: &Config,
    weights: &Weights<'_>,
) -> Result<BuiltModel, ModelError> {
    let detr = DetrConfig::read(config)?;
    let channels = config.size_or("num_channels", 3)?;
    let backbone = backbone(config, channels)?.with_names_of(weights, BACKBONE);
    let mut b = GraphBuilder::new();
    let [batch, height, width] = ["batch", "height", "width"].map(Dim::symbol);
    let shape = vec![
        batch.clone(),
        Dim::from(channels),
        height.clone(),
        width.clone(),
    ];
    let pixels = b.input("pixel_values", DataType::F32, shape)?;
    let mask = b.input("pixel_mask", DataType::I32, vec![batch, height, width])?;

    let features = backbone.apply(&mut b, weights, BACKBONE, pixels)?;
    let shape = [detr.hidden, backbone.outputs(), 1, 1];
    let filter = weights.filter(&mut b, "model.input_projection.weight", &shape)?;
    let bias = weights.vector(&mut b, "model.input_projection.bias", detr.hidden)?;
    let features = b.conv2d(features, filter, Some(bias), Window::default(), 1)?;
    let mask = mask_of_features(&mut b, mask, features)?;
    let places = sine_places(&mut b, mask, detr.hidden)?;
    let tokens = to_tokens(&mut b, features)?;
    let flat = b.shape(tokens)[..2].to_vec();
    let mask = b.reshape(mask, flat)?;
    let bias = mask_bias(&mut b, mask)?;
    let memory = encode(
        &mut b,
        &detr,
        weights,
        Memory {
            tokens,
            places,
            bias,
        },
    )?;
    let x = decode(&mut b, &detr, weights, memory)?;

    let logits = Linear {
        name: "class_labels_classifier",
        inputs: detr.hidden,
        // One more, for "no object".
        outputs: detr.labels + 1,
    }
    .apply(&mut b, weights, x)?;
    b.output("logits", logits)?;
    let boxes = boxes(&mut b, &detr, weights, x)?;
    b.output("pred_boxes", boxes)?;
    Ok(BuiltModel {
        architecture: "detr",
        graph: b.finish(),
        kind: ModelKind::Feedforward(Feedforward {
            defaults: vec![("pixel_mask".into(), 1)],
            limits: vec![
                ("height".into(), MOST_PIXELS),
                ("width".into(), MOST_PIXELS),
            ],
            ..Feedforward::default()
        }),
    })
}

/// The backbone that the config describes, or names as one of `timm`'s.
fn backbone(config: &Config, channels: usize) -> Result<ResNet, ModelError> {
    let dilated = config.bool_or("dilation", false)?;
    if let Some(inner) = config.object("backbone_config")? {
        // Newer configs say `timm_backbone` and name the network in here.
        match inner.get("model_type").map(|kind| kind.as_str()) {
            None | Some(Some("resnet")) => return ResNet::from_config(&inner),
            Some(Some("timm_backbone")) => {
                return ResNet::named(inner.str("backbone")?, channels, dilated);
            }
            Some(_) => {
                return Err(ConfigError::Value {
                    key: "backbone_config.model_type".into(),
                    got: inner.str("model_type").unwrap_or("no string").into(),
                    wanted: "resnet or timm_backbone",
                }
                .into());
            }
        }
    }
    let name = match config.get("backbone") {
        Some(_) => config.str("backbone")?,
        None => "resnet50",
    };
    ResNet::named(name, channels, dilated)
}

/// The mask at the size of the features, the nearest pixel's: f32 of 0 and 1, `[batch, height', width']`.
fn mask_of_features(
    b: &mut GraphBuilder,
    mask: ValueId,
    features: ValueId,
) -> Result<ValueId, ModelError> {
    let zero = b.constant(Tensor::from_i32(&[], &[0])?);
    let mask = b.compare(Compare::Greater, mask, zero)?;
    let mut mask = b.cast(mask, DataType::F32)?;
    for axis in [1, 2] {
        let from = b.shape(mask)[axis].clone();
        let to = b.shape(features)[axis + 1].clone();
        let rows = nearest(b, from, to)?;
        mask = b.gather(mask, rows, axis)?;
    }
    Ok(mask)
}

/// `⌊i · from / to⌋` for each `i` below `to`, i32: constants once the sizes are known.
fn nearest(b: &mut GraphBuilder, from: Dim, to: Dim) -> Result<ValueId, ModelError> {
    let ones = |b: &mut GraphBuilder, count: Dim| -> Result<ValueId, ModelError> {
        let one = b.constant(Tensor::from_f32(&[1], &[1.0])?);
        Ok(b.expand(one, vec![count])?)
    };
    let (pixels, places) = (ones(b, from)?, ones(b, to)?);
    let from = b.reduce(ReduceKind::Sum, pixels, &[0], true)?;
    let to = b.reduce(ReduceKind::Sum, places, &[0], true)?;
    let count_up = Op::CumulativeSum(CumulativeSum {
        axis: 0,
        exclusive: true,
        reversed: false,
    });
    let place = b.op(count_up, &[places])?;
    let scaled = b.mul(place, from)?;
    // Half a step away from the integers, so that no rounding of the quotient decides.
    let half = b.number(0.5)?;
    let scaled = b.add_values(scaled, half)?;
    let row = b.binary(Binary::Div, scaled, to)?;
    let row = b.unary(Unary::Floor, row)?;
    Ok(b.cast(row, DataType::I32)?)
}

/// Sines and cosines of where each token is among those that are no padding, rows first, then columns:
/// `[batch, tokens, hidden]` (the paper's appendix A.4, with coordinates from 0 to 2π).
fn sine_places(b: &mut GraphBuilder, mask: ValueId, hidden: usize) -> Result<ValueId, ModelError> {
    let shape = b.shape(mask).to_vec();
    let tokens = shape[1].clone() * shape[2].clone();
    let quarter = hidden / 4;
    let periods: Vec<f32> = (0..quarter)
        .map(|i| libm::pow(10000.0, 2.0 * i as f64 / (hidden / 2) as f64) as f32)
        .collect();
    let periods = b.constant(Tensor::from_f32(&[quarter], &periods)?);
    let mut parts = Vec::new();
    for axis in [1, 2] {
        let counted = b.cumulative_sum(mask, axis)?;
        let last = shape[axis].clone() - Dim::from(1);
        let last = b.slice_axis(counted, axis, last, Dim::from(1))?;
        let tiny = b.number(1e-6)?;
        let last = b.add_values(last, tiny)?;
        let share = b.binary(Binary::Div, counted, last)?;
        let turn = b.number(2.0 * std::f32::consts::PI)?;
        let angle = b.mul(share, turn)?;
        let angle = b.reshape(angle, vec![shape[0].clone(), tokens.clone(), Dim::from(1)])?;
        let angle = b.binary(Binary::Div, angle, periods)?;
        let pair = vec![
            shape[0].clone(),
            tokens.clone(),
            Dim::from(quarter),
            Dim::from(1),
        ];
        let mut both = Vec::new();
        for function in [Unary::Sin, Unary::Cos] {
            let wave = b.unary(function, angle)?;
            both.push(b.reshape(wave, pair.clone())?);
        }
        let both = b.concat(&both, 3)?;
        let part = vec![shape[0].clone(), tokens.clone(), Dim::from(2 * quarter)];
        parts.push(b.reshape(both, part)?);
    }
    Ok(b.concat(&parts, 2)?)
}

/// Layers in which tokens look at each other; queries and keys know their places.
fn encode(
    b: &mut GraphBuilder,
    detr: &DetrConfig,
    weights: &Weights<'_>,
    memory: Memory,
) -> Result<Memory, ModelError> {
    let Memory { places, bias, .. } = memory;
    let residual = detr.residual();
    let mut x = memory.tokens;
    for number in 0..detr.encoder.layers {
        let name = format!("model.encoder.layers.{number}");
        let attention = detr.attention(&format!("{name}.self_attn"), detr.encoder.heads);
        let norm = format!("{name}.self_attn_layer_norm");
        x = residual.around(b, weights, &norm, x, |b, x| {
            let placed = b.add_values(x, places)?;
            attention.over(b, weights, [placed, placed, x], Some(bias))
        })?;
        let feed_forward = detr.feed_forward(&name, detr.encoder.feed_forward);
        let norm = format!("{name}.final_layer_norm");
        x = residual.around(b, weights, &norm, x, |b, x| {
            feed_forward.apply(b, weights, x)
        })?;
    }
    Ok(Memory {
        tokens: x,
        ..memory
    })
}

/// Layers in which the queries look at each other and then at the image: `[batch, queries, hidden]`.
fn decode(
    b: &mut GraphBuilder,
    detr: &DetrConfig,
    weights: &Weights<'_>,
    memory: Memory,
) -> Result<ValueId, ModelError> {
    let shape = [detr.queries, detr.hidden];
    let name = "model.query_position_embeddings.weight";
    let asked = weights.tensor(b, name, &shape)?;
    let nothing = b.constant(Tensor::from_f32(&[1, 1, 1], &[0.0])?);
    let mut shape = vec![Dim::symbol("batch")];
    shape.extend([detr.queries, detr.hidden].map(Dim::from));
    let mut x = b.expand(nothing, shape)?;
    let keys = b.add_values(memory.tokens, memory.places)?;
    let residual = detr.residual();
    for number in 0..detr.decoder.layers {
        let name = format!("model.decoder.layers.{number}");
        let attention = detr.attention(&format!("{name}.self_attn"), detr.decoder.heads);
        let norm = format!("{name}.self_attn_layer_norm");
        x = residual.around(b, weights, &norm, x, |b, x| {
            let placed = b.add_values(x, asked)?;
            attention.over(b, weights, [placed, placed, x], None)
        })?;
        let attention = detr.attention(&format!("{name}.encoder_attn"), detr.decoder.heads);
        let norm = format!("{name}.encoder_attn_layer_norm");
        x = residual.around(b, weights, &norm, x, |b, x| {
            let placed = b.add_values(x, asked)?;
            attention.over(b, weights, [placed, keys, memory.tokens], Some(memory.bias))
        })?;
        let feed_forward = detr.feed_forward(&name, detr.decoder.feed_forward);
        let norm = format!("{name}.final_layer_norm");
        x = residual.around(b, weights, &norm, x, |b, x| {
            feed_forward.apply(b, weights, x)
        })?;
    }
    let norm = Norm::layer(detr.hidden, EPSILON);
    norm.apply(b, weights, "model.decoder.layernorm", x)
}

/// Each query's box: centre, width and height as shares of the image, `[batch, queries, 4]`.
fn boxes(
    b: &mut GraphBuilder,
    detr: &DetrConfig,
    weights: &Weights<'_>,
    mut x: ValueId,
) -> Result<ValueId, ModelError> {
    for (number, outputs) in [detr.hidden, detr.hidden, 4].into_iter().enumerate() {
        if number > 0 {
            x = b.unary(Unary::Relu, x)?;
        }
        x = Linear {
            name: &format!("bbox_predictor.layers.{number}"),
            inputs: detr.hidden,
            outputs,
        }
        .apply(b, weights, x)?;
    }
    Ok(b.unary(Unary::Sigmoid, x)?)
}

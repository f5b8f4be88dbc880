//! CLIP (Radford et al. 2021): a causal text tower and an image tower that meet in one space.

use super::block::{
    Activation, EncoderLayer, FeedForward, Linear, MultiHead, Norm, NormOrder, PatchEmbedding,
    Residual, for_each, mask_bias, similarity, token, unit_rows,
};
use super::image_config::height_and_width;
use super::{BuiltModel, Config, ConfigError, Feedforward, ModelError, ModelKind, Weights};
use crate::graph::op::{Compare, CumulativeSum, Op, ReduceKind};
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::tensor::{DataType, Tensor};

/// Sizes of one tower.
struct Tower {
    hidden: usize,
    layers: usize,
    heads: usize,
    feed_forward: usize,
    epsilon: f32,
    activation: Activation,
}

impl Tower {
    fn read(config: &Config, hidden: usize, heads: usize) -> Result<Tower, ModelError> {
        let hidden = config.size_or("hidden_size", hidden)?;
        let heads = config.size_or("num_attention_heads", heads)?;
        if !hidden.is_multiple_of(heads) {
            return Err(ConfigError::Value {
                key: "num_attention_heads".into(),
                got: heads.to_string(),
                wanted: "a divisor of hidden_size",
            }
            .into());
        }
        Ok(Tower {
            hidden,
            layers: config.size_or("num_hidden_layers", 12)?,
            heads,
            feed_forward: config.size_or("intermediate_size", 4 * hidden)?,
            epsilon: config.f32_or("layer_norm_eps", 1e-5)?,
            activation: Activation::from_config(config, "hidden_act", "quick_gelu")?,
        })
    }

    fn norm(&self) -> Norm {
        Norm::layer(self.hidden, self.epsilon)
    }

    fn layer(&self, tower: &str, number: usize) -> EncoderLayer {
        let name = |part: &str| format!("{tower}.encoder.layers.{number}.{part}");
        EncoderLayer {
            residual: Residual {
                order: NormOrder::Before,
                norm: self.norm(),
            },
            attention: MultiHead {
                query: name("self_attn.q_proj"),
                key: name("self_attn.k_proj"),
                value: name("self_attn.v_proj"),
                output: name("self_attn.out_proj"),
                hidden: self.hidden,
                heads: self.heads,
                head_size: self.hidden / self.heads,
                scale: MultiHead::usual_scale(self.hidden / self.heads),
            },
            attention_norm: name("layer_norm1"),
            feed_forward: FeedForward {
                gate: None,
                up: name("mlp.fc1"),
                down: name("mlp.fc2"),
                hidden: self.hidden,
                inner: self.feed_forward,
                activation: self.activation,
            },
            feed_forward_norm: name("layer_norm2"),
        }
    }
}

pub(super) fn from_config(
    config: &Config,
    weights: &Weights<'_>,
) -> Result<BuiltModel, ModelError> {
    let part = |key: &str| -> Result<Config, ModelError> {
        let part = config.object(key)?;
        Ok(part.ok_or_else(|| ConfigError::Missing(key.into()))?)
    };
    let (text_config, vision_config) = (part("text_config")?, part("vision_config")?);
    let shared = config.size_or("projection_dim", 512)?;
    let positions = text_config.size_or("max_position_embeddings", 77)?;
    let mut b = GraphBuilder::new();

    let text = text_features(&mut b, &text_config, weights, positions)?;
    let text = project(&mut b, weights, "text_projection", text, shared)?;
    b.output("text_embeds", text)?;
    let image = image_features(&mut b, &vision_config, weights)?;
    let image = project(&mut b, weights, "visual_projection", image, shared)?;
    b.output("image_embeds", image)?;

    let scale = weights.tensor(&mut b, "logit_scale", &[])?;
    let by_image = similarity(&mut b, image, text, scale)?;
    b.output("logits_per_image", by_image)?;
    let by_text = b.transpose(by_image, &[1, 0])?;
    b.output("logits_per_text", by_text)?;
    Ok(BuiltModel {
        architecture: "clip",
        graph: b.finish(),
        kind: ModelKind::Feedforward(Feedforward {
            defaults: vec![("attention_mask".into(), 1)],
            limits: vec![("tokens".into(), positions)],
            ..Feedforward::default()
        }),
    })
}

/// A tower's result in the shared space, of length one.
fn project(
    b: &mut GraphBuilder,
    weights: &Weights<'_>,
    name: &str,
    x: ValueId,
    shared: usize,
) -> Result<ValueId, ModelError> {
    let inputs = b.shape(x).last().and_then(Dim::fixed).unwrap_or(0);
    let linear = Linear {
        name,
        inputs,
        outputs: shared,
    };
    let projected = linear.apply(b, weights, x)?;
    Ok(unit_rows(b, projected)?)
}

/// `input_ids`, `attention_mask` `[texts, tokens]` → `[texts, hidden]`: the state of the token that ends each text.
fn text_features(
    b: &mut GraphBuilder,
    config: &Config,
    weights: &Weights<'_>,
    positions: usize,
) -> Result<ValueId, ModelError> {
    let tower = Tower::read(config, 512, 8)?;
    let (texts, tokens) = (Dim::symbol("texts"), Dim::symbol("tokens"));
    let shape = vec![texts.clone(), tokens.clone()];
    let ids = b.input("input_ids", DataType::I32, shape.clone())?;
    let mask = b.input("attention_mask", DataType::I32, shape)?;

    let vocabulary = config.size_or("vocab_size", 49408)?;
    let table = weights.matrix(
        b,
        "text_model.embeddings.token_embedding.weight",
        vocabulary,
        tower.hidden,
    )?;
    let words = b.embedding(table, ids)?;
    let table = weights.tensor(
        b,
        "text_model.embeddings.position_embedding.weight",
        &[positions, tower.hidden],
    )?;
    let places = b.slice_axis(table, 0, Dim::from(0), tokens)?;
    let mut x = b.add_values(words, places)?;

    let bias = mask_bias(b, mask)?;
    let zero = b.constant(Tensor::from_i32(&[1], &[0])?);
    let start = b.expand(zero, vec![texts])?;
    for number in 0..tower.layers {
        x = causal_layer(
            b,
            weights,
            &tower.layer("text_model", number),
            x,
            start,
            bias,
        )?;
    }
    let x = tower
        .norm()
        .apply(b, weights, "text_model.final_layer_norm", x)?;
    let end = end_of_text(b, config, ids)?;
    at_tokens(b, x, end)
}

/// An encoder layer in which a token sees itself and those before it.
fn causal_layer(
    b: &mut GraphBuilder,
    weights: &Weights<'_>,
    layer: &EncoderLayer,
    x: ValueId,
    start: ValueId,
    bias: ValueId,
) -> Result<ValueId, ModelError> {
    let attention = &layer.attention;
    let attend = |b: &mut GraphBuilder, x: ValueId| {
        let q = attention.queries(b, weights, x)?;
        let k = attention.keys(b, weights, x)?;
        let v = attention.values(b, weights, x)?;
        let k = b.transpose(k, &[0, 2, 1, 3])?;
        let v = b.transpose(v, &[0, 2, 1, 3])?;
        attention.attend(b, weights, [q, k, v], Some(start), Some(bias))
    };
    let around =
        |b: &mut GraphBuilder,
         norm: &str,
         x,
         inner: &dyn Fn(&mut GraphBuilder, ValueId) -> Result<ValueId, ModelError>| {
            layer.residual.around(b, weights, norm, x, inner)
        };
    let x = around(b, &layer.attention_norm, x, &attend)?;
    let feed = |b: &mut GraphBuilder, x: ValueId| layer.feed_forward.apply(b, weights, x);
    around(b, &layer.feed_forward_norm, x, &feed)
}

/// 1 at the first token of each text that ends it and 0 elsewhere, f32 `[texts, tokens]`.
///
/// Configs written before the reference implementation knew the token say 2 and mean the largest id.
fn end_of_text(b: &mut GraphBuilder, config: &Config, ids: ValueId) -> Result<ValueId, ModelError> {
    const OLD: u32 = 2;
    let wanted = match config.ids("eos_token_id")?.as_slice() {
        [] => 49407,
        [id] => *id,
        _ => {
            return Err(ConfigError::Value {
                key: "eos_token_id".into(),
                got: "a list".into(),
                wanted: "one token id",
            }
            .into());
        }
    };
    let ends = if wanted == OLD {
        let as_numbers = b.cast(ids, DataType::F32)?;
        let largest = b.reduce(ReduceKind::Max, as_numbers, &[1], true)?;
        b.compare(Compare::Equal, as_numbers, largest)?
    } else {
        let wanted = i32::try_from(wanted).unwrap_or(i32::MAX);
        let wanted = b.constant(Tensor::from_i32(&[], &[wanted])?);
        b.compare(Compare::Equal, ids, wanted)?
    };
    let ends = b.cast(ends, DataType::F32)?;
    let before = b.op(
        Op::CumulativeSum(CumulativeSum {
            axis: 1,
            exclusive: true,
            reversed: false,
        }),
        &[ends],
    )?;
    let zero = b.number(0.0)?;
    let first = b.compare(Compare::Equal, before, zero)?;
    let first = b.cast(first, DataType::F32)?;
    Ok(b.mul(ends, first)?)
}

/// The states `x [texts, tokens, hidden]` where `chosen [texts, tokens]` is 1: `[texts, hidden]`.
fn at_tokens(b: &mut GraphBuilder, x: ValueId, chosen: ValueId) -> Result<ValueId, ModelError> {
    let mut row = b.shape(chosen).to_vec();
    row.insert(1, Dim::from(1));
    let chosen = b.reshape(chosen, row)?;
    let picked = b.matmul(chosen, x)?;
    token(b, picked, 0)
}

/// `pixel_values [images, channels, height, width]` → `[images, hidden]`
fn image_features(
    b: &mut GraphBuilder,
    config: &Config,
    weights: &Weights<'_>,
) -> Result<ValueId, ModelError> {
    let tower = Tower::read(config, 768, 12)?;
    let image = height_and_width(config, "image_size", 224)?;
    let patch = height_and_width(config, "patch_size", 32)?;
    let channels = config.size_or("num_channels", 3)?;
    let images = Dim::symbol("images");
    let mut shape = vec![images.clone()];
    shape.extend([channels, image[0], image[1]].map(Dim::from));
    let pixels = b.input("pixel_values", DataType::F32, shape)?;

    let name = |part: &str| format!("vision_model.{part}");
    let patches = PatchEmbedding {
        name: name("embeddings.patch_embedding"),
        channels,
        patch,
        hidden: tower.hidden,
    }
    .apply(b, weights, pixels)?;
    let class = weights.vector(b, &name("embeddings.class_embedding"), tower.hidden)?;
    let class = for_each(b, class, images, tower.hidden)?;
    let tokens = b.concat(&[class, patches], 1)?;
    let count = 1 + (image[0] / patch[0]) * (image[1] / patch[1]);
    let positions = weights.tensor(
        b,
        &name("embeddings.position_embedding.weight"),
        &[count, tower.hidden],
    )?;
    let x = b.add_values(tokens, positions)?;
    // The name is misspelt in every checkpoint.
    let mut x = tower.norm().apply(b, weights, &name("pre_layrnorm"), x)?;
    for number in 0..tower.layers {
        x = tower
            .layer("vision_model", number)
            .apply(b, weights, x, None)?;
    }
    let class = token(b, x, 0)?;
    tower
        .norm()
        .apply(b, weights, &name("post_layernorm"), class)
}

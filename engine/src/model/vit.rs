//! ViT (Dosovitskiy et al. 2020): an encoder over the patches of an image; and DeiT (Touvron et al. 2021), the same
//! with a distillation token.

use super::block::{
    Activation, EncoderLayer, FeedForward, Linear, MultiHead, Norm, NormOrder, PatchEmbedding,
    Residual, for_each, token,
};
use super::image_config::{height_and_width, label_count};
use super::{BuiltModel, Config, ConfigError, Feedforward, ModelError, ModelKind, Weights};
use crate::graph::op::Unary;
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::tensor::DataType;

/// Sizes of a ViT.
struct VitConfig {
    hidden: usize,
    layers: usize,
    heads: usize,
    feed_forward: usize,
    channels: usize,
    image: [usize; 2],
    patch: [usize; 2],
    epsilon: f32,
    activation: Activation,
    /// Whether queries, keys and values have a bias.
    qkv_bias: bool,
    /// DeiT's second token.
    distillation: bool,
}

impl VitConfig {
    fn read(config: &Config, distillation: bool) -> Result<VitConfig, ModelError> {
        let hidden = config.size("hidden_size")?;
        let heads = config.size("num_attention_heads")?;
        if !hidden.is_multiple_of(heads) {
            return Err(ConfigError::Value {
                key: "num_attention_heads".into(),
                got: heads.to_string(),
                wanted: "a divisor of hidden_size",
            }
            .into());
        }
        Ok(VitConfig {
            hidden,
            layers: config.size("num_hidden_layers")?,
            heads,
            feed_forward: config.size("intermediate_size")?,
            channels: config.size_or("num_channels", 3)?,
            image: height_and_width(config, "image_size", 224)?,
            patch: height_and_width(config, "patch_size", 16)?,
            epsilon: config.f32_or("layer_norm_eps", 1e-12)?,
            activation: Activation::from_config(config, "hidden_act", "gelu")?,
            qkv_bias: config.bool_or("qkv_bias", true)?,
            distillation,
        })
    }

    fn layer(&self, number: usize) -> EncoderLayer {
        let name = |part: &str| format!("encoder.layer.{number}.{part}");
        EncoderLayer {
            residual: Residual {
                order: NormOrder::Before,
                norm: Norm::layer(self.hidden, self.epsilon),
            },
            attention: MultiHead {
                query: name("attention.attention.query"),
                key: name("attention.attention.key"),
                value: name("attention.attention.value"),
                output: name("attention.output.dense"),
                hidden: self.hidden,
                heads: self.heads,
                head_size: self.hidden / self.heads,
                scale: MultiHead::usual_scale(self.hidden / self.heads),
            },
            attention_norm: name("layernorm_before"),
            feed_forward: FeedForward {
                gate: None,
                up: name("intermediate.dense"),
                down: name("output.dense"),
                hidden: self.hidden,
                inner: self.feed_forward,
                activation: self.activation,
            },
            feed_forward_norm: name("layernorm_after"),
        }
    }
}

pub(super) fn vit(config: &Config, weights: &Weights<'_>) -> Result<BuiltModel, ModelError> {
    build("vit", config, weights, false)
}

pub(super) fn deit(config: &Config, weights: &Weights<'_>) -> Result<BuiltModel, ModelError> {
    build("deit", config, weights, true)
}

fn build(
    architecture: &'static str,
    config: &Config,
    checkpoint: &Weights<'_>,
    distillation: bool,
) -> Result<BuiltModel, ModelError> {
    let vit = VitConfig::read(config, distillation)?;
    let prefix = format!("{architecture}.");
    let weights = checkpoint.with_optional_prefix(&prefix, "embeddings.cls_token");
    check_bias(&vit, &weights)?;
    let mut b = GraphBuilder::new();
    let pixels = b.input(
        "pixel_values",
        DataType::F32,
        vec![
            Dim::symbol("batch"),
            Dim::from(vit.channels),
            Dim::from(vit.image[0]),
            Dim::from(vit.image[1]),
        ],
    )?;
    let mut x = embed(&mut b, &vit, &weights, pixels)?;
    for number in 0..vit.layers {
        x = vit.layer(number).apply(&mut b, &weights, x, None)?;
    }
    let norm = Norm::layer(vit.hidden, vit.epsilon);
    let normal = norm.apply(&mut b, &weights, "layernorm", x)?;
    let classifies = classify(&mut b, config, &vit, checkpoint, normal)?;
    // As in the reference implementation: a classifier's last hidden state is its last layer's, a bare model's is
    // normalized.
    b.output("last_hidden_state", if classifies { x } else { normal })?;
    if weights.contains("pooler.dense.weight") {
        let pooled = pool(&mut b, config, &vit, &weights, normal)?;
        b.output("pooler_output", pooled)?;
    }
    Ok(BuiltModel {
        architecture,
        graph: b.finish(),
        kind: ModelKind::Feedforward(Feedforward::default()),
    })
}

/// A bias that the config promises and the checkpoint has not (or the other way round) would go unnoticed.
fn check_bias(vit: &VitConfig, weights: &Weights<'_>) -> Result<(), ModelError> {
    let query = vit.layer(0).attention.query;
    if weights.contains(&format!("{query}.bias")) == vit.qkv_bias {
        return Ok(());
    }
    Err(ConfigError::Value {
        key: "qkv_bias".into(),
        got: vit.qkv_bias.to_string(),
        wanted: "what the checkpoint has",
    }
    .into())
}

/// The class token (and DeiT's distillation token) and the patches, with learned positions.
fn embed(
    b: &mut GraphBuilder,
    vit: &VitConfig,
    weights: &Weights<'_>,
    pixels: ValueId,
) -> Result<ValueId, ModelError> {
    let patches = PatchEmbedding {
        name: "embeddings.patch_embeddings.projection".into(),
        channels: vit.channels,
        patch: vit.patch,
        hidden: vit.hidden,
    }
    .apply(b, weights, pixels)?;
    let mut names = vec!["embeddings.cls_token"];
    if vit.distillation {
        names.push("embeddings.distillation_token");
    }
    let mut tokens = Vec::new();
    for name in names {
        let one = weights.tensor(b, name, &[1, 1, vit.hidden])?;
        tokens.push(for_each(b, one, Dim::symbol("batch"), vit.hidden)?);
    }
    tokens.push(patches);
    let x = b.concat(&tokens, 1)?;
    let [rows, columns] = [0, 1].map(|axis| vit.image[axis] / vit.patch[axis]);
    let count = rows * columns + tokens.len() - 1;
    let shape = [1, count, vit.hidden];
    let positions = weights.tensor(b, "embeddings.position_embeddings", &shape)?;
    Ok(b.add_values(x, positions)?)
}

fn pool(
    b: &mut GraphBuilder,
    config: &Config,
    vit: &VitConfig,
    weights: &Weights<'_>,
    x: ValueId,
) -> Result<ValueId, ModelError> {
    let act = config.get("pooler_act");
    if let Some(other) = act.filter(|act| act.as_str() != Some("tanh")) {
        return Err(super::config::wrong("pooler_act", other, "tanh").into());
    }
    let first = token(b, x, 0)?;
    let dense = Linear {
        name: "pooler.dense",
        inputs: vit.hidden,
        outputs: config.size_or("pooler_output_size", vit.hidden)?,
    }
    .apply(b, weights, first)?;
    Ok(b.unary(Unary::Tanh, dense)?)
}

/// One classifier over the class token, or DeiT's two, whose mean is the answer; whether there is any.
fn classify(
    b: &mut GraphBuilder,
    config: &Config,
    vit: &VitConfig,
    weights: &Weights<'_>,
    x: ValueId,
) -> Result<bool, ModelError> {
    let head = |b: &mut GraphBuilder, name: &str, at: usize| -> Result<ValueId, ModelError> {
        let linear = Linear {
            name,
            inputs: vit.hidden,
            outputs: label_count(config)?,
        };
        let token = token(b, x, at)?;
        linear.apply(b, weights, token)
    };
    if weights.contains("classifier.weight") {
        let logits = head(b, "classifier", 0)?;
        b.output("logits", logits)?;
    } else if vit.distillation && weights.contains("cls_classifier.weight") {
        let class = head(b, "cls_classifier", 0)?;
        let distilled = head(b, "distillation_classifier", 1)?;
        let sum = b.add_values(class, distilled)?;
        let half = b.number(0.5)?;
        let logits = b.mul(sum, half)?;
        b.output("logits", logits)?;
        b.output("cls_logits", class)?;
        b.output("distillation_logits", distilled)?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

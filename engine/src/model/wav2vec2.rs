//! Wav2Vec2 (Baevski et al. 2020): convolutions over the waveform, a convolution for positions, a transformer
//! encoder, and a head for connectionist temporal classification (Graves et al. 2006) where the checkpoint has one.

use super::block::{
    Activation, Conv1d, EncoderLayer, FeedForward, Linear, MultiHead, Norm, NormOrder, Residual,
};
use super::config::wrong;
use super::image_config::label_count;
use super::{BuiltModel, Config, ConfigError, Feedforward, ModelError, ModelKind, Weights};
use crate::graph::op::{Binary, LayerNormalization, Op, ReduceKind, Unary};
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::tensor::DataType;

/// Two minutes at 16 kHz: attention takes memory with the square of the length.
const MOST_SAMPLES: usize = 120 * 16_000;

/// PyTorch's default for the norms of the feature extractor, which no config names.
const EPSILON: f32 = 1e-5;

/// Channels, kernels and strides beyond this are no model's.
const MOST: usize = 1 << 16;

struct Wav2Vec2Config {
    /// Channels, kernel and stride of each convolution over the waveform.
    convolutions: Vec<[usize; 3]>,
    /// Every convolution is normalized over its channels; otherwise the first alone, over time.
    layer_norms: bool,
    extractor_activation: Activation,
    hidden: usize,
    layers: usize,
    heads: usize,
    feed_forward: usize,
    position_kernel: usize,
    position_groups: usize,
    /// Norms stand before the sublayers, with one more at the end.
    stable: bool,
    epsilon: f32,
    activation: Activation,
    vocabulary: usize,
}

pub(super) fn from_config(
    config: &Config,
    weights: &Weights<'_>,
) -> Result<BuiltModel, ModelError> {
    let wav2vec2 = Wav2Vec2Config::read(config)?;
    let tower = weights.with_optional_prefix("wav2vec2.", "feature_projection.projection.weight");
    let mut b = GraphBuilder::new();
    let shape = vec![Dim::symbol("batch"), Dim::symbol("samples")];
    let waveform = b.input("input_values", DataType::F32, shape)?;
    let (last, hidden) = wav2vec2.encode(&mut b, &tower, waveform)?;
    let head = ["lm_head.weight", "classifier.weight"];
    // Beside a head stands what Transformers 5 gives as the last of `hidden_states`: the last layer's, before the norm.
    let shown = match head.iter().any(|name| weights.contains(name)) {
        true => last,
        false => hidden,
    };
    b.output("last_hidden_state", shown)?;
    if weights.contains("lm_head.weight") {
        let logits = Linear {
            name: "lm_head",
            inputs: wav2vec2.hidden,
            outputs: wav2vec2.vocabulary,
        }
        .apply(&mut b, weights, hidden)?;
        b.output("logits", logits)?;
    } else if weights.contains("classifier.weight") {
        let logits = classify(&mut b, config, weights, wav2vec2.hidden, hidden)?;
        b.output("logits", logits)?;
    }
    Ok(BuiltModel {
        architecture: "wav2vec2",
        graph: b.finish(),
        kind: ModelKind::Feedforward(Feedforward {
            limits: vec![("samples".into(), MOST_SAMPLES)],
            ..Feedforward::default()
        }),
    })
}

/// The head of `Wav2Vec2ForSequenceClassification`: classes of the mean over time, `[batch, labels]`.
fn classify(
    b: &mut GraphBuilder,
    config: &Config,
    weights: &Weights<'_>,
    hidden: usize,
    x: ValueId,
) -> Result<ValueId, ModelError> {
    if config.bool_or("use_weighted_layer_sum", false)? {
        return Err(wrong("use_weighted_layer_sum", &true.into(), "false").into());
    }
    let size = config.size_or("classifier_proj_size", 256)?;
    let projector = Linear {
        name: "projector",
        inputs: hidden,
        outputs: size,
    };
    let x = projector.apply(b, weights, x)?;
    let mean = b.reduce(ReduceKind::Mean, x, &[1], false)?;
    let classifier = Linear {
        name: "classifier",
        inputs: size,
        outputs: label_count(config)?,
    };
    classifier.apply(b, weights, mean)
}

impl Wav2Vec2Config {
    fn read(config: &Config) -> Result<Wav2Vec2Config, ModelError> {
        if config.bool_or("add_adapter", false)? {
            let got = config.get("add_adapter").cloned().unwrap_or_default();
            return Err(wrong("add_adapter", &got, "false (adapters are not supported)").into());
        }
        let channels = config.sizes("conv_dim", MOST)?;
        let kernels = config.sizes("conv_kernel", MOST)?;
        let strides = config.sizes("conv_stride", MOST)?;
        for (key, sizes) in [("conv_kernel", &kernels), ("conv_stride", &strides)] {
            if sizes.len() != channels.len() {
                return Err(ConfigError::Value {
                    key: key.into(),
                    got: format!("{} sizes", sizes.len()),
                    wanted: "as many as conv_dim has",
                }
                .into());
            }
        }
        let layer_norms = match config.str("feat_extract_norm").unwrap_or("group") {
            "group" => false,
            "layer" => true,
            other => {
                let got = other.into();
                return Err(wrong("feat_extract_norm", &got, "group or layer").into());
            }
        };
        let hidden = config.size("hidden_size")?;
        let heads = config.size("num_attention_heads")?;
        let groups = config.size_up_to("num_conv_pos_embedding_groups", MOST)?;
        for (key, parts) in [
            ("num_attention_heads", heads),
            ("num_conv_pos_embedding_groups", groups),
        ] {
            if !hidden.is_multiple_of(parts) {
                return Err(ConfigError::Value {
                    key: key.into(),
                    got: parts.to_string(),
                    wanted: "a divisor of hidden_size",
                }
                .into());
            }
        }
        let activation = |key: &str| Activation::named(key, config.str(key).unwrap_or("gelu"));
        let convolutions = channels.into_iter().zip(kernels).zip(strides);
        Ok(Wav2Vec2Config {
            convolutions: convolutions.map(|((c, k), s)| [c, k, s]).collect(),
            layer_norms,
            extractor_activation: activation("feat_extract_activation")?,
            hidden,
            layers: config.size("num_hidden_layers")?,
            heads,
            feed_forward: config.size("intermediate_size")?,
            position_kernel: config.size_up_to("num_conv_pos_embeddings", MOST)?,
            position_groups: groups,
            stable: config.bool_or("do_stable_layer_norm", false)?,
            epsilon: config.f32_or("layer_norm_eps", 1e-5)?,
            activation: activation("hidden_act")?,
            vocabulary: config.size("vocab_size")?,
        })
    }

    /// From the waveform `[batch, samples]` to hidden states `[batch, frames, hidden]`:
    /// what the last layer gives, and the same after the encoder's own norm, which only stable layers leave to the end.
    fn encode(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        waveform: ValueId,
    ) -> Result<(ValueId, ValueId), ModelError> {
        let features = self.extract(b, weights, waveform)?;
        let features = b.transpose(features, &[0, 2, 1])?;
        let channels = self.channels();
        let norm = Norm::layer(channels, self.epsilon);
        let normal = norm.apply(b, weights, "feature_projection.layer_norm", features)?;
        let x = Linear {
            name: "feature_projection.projection",
            inputs: channels,
            outputs: self.hidden,
        }
        .apply(b, weights, normal)?;
        let positions = self.positions(b, weights, x)?;
        let mut x = b.add_values(x, positions)?;
        let norm = Norm::layer(self.hidden, self.epsilon);
        if !self.stable {
            x = norm.apply(b, weights, "encoder.layer_norm", x)?;
        }
        for layer in 0..self.layers {
            x = self.layer(layer).apply(b, weights, x, None)?;
        }
        let normal = match self.stable {
            true => norm.apply(b, weights, "encoder.layer_norm", x)?,
            false => x,
        };
        Ok((x, normal))
    }

    fn channels(&self) -> usize {
        self.convolutions
            .last()
            .map_or(1, |[channels, ..]| *channels)
    }

    /// The convolutions over the waveform: `[batch, channels, frames]`.
    fn extract(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        waveform: ValueId,
    ) -> Result<ValueId, ModelError> {
        let mut shape = b.shape(waveform).to_vec();
        shape.insert(1, Dim::from(1));
        let mut x = b.reshape(waveform, shape)?;
        let mut inputs = 1;
        for (i, &[outputs, kernel, stride]) in self.convolutions.iter().enumerate() {
            let name = format!("feature_extractor.conv_layers.{i}");
            let conv = Conv1d {
                name: format!("{name}.conv"),
                inputs,
                outputs,
                kernel,
                stride,
                padding: 0,
                groups: 1,
            };
            x = conv.apply(b, weights, x)?;
            let norm = format!("{name}.layer_norm");
            if self.layer_norms {
                let y = b.transpose(x, &[0, 2, 1])?;
                let y = Norm::layer(outputs, EPSILON).apply(b, weights, &norm, y)?;
                x = b.transpose(y, &[0, 2, 1])?;
            } else if i == 0 {
                x = over_time(b, weights, &norm, outputs, x)?;
            }
            x = self.extractor_activation.apply(b, x)?;
            inputs = outputs;
        }
        Ok(x)
    }

    /// The convolution that tells positions, `[batch, frames, hidden]` like `x`.
    fn positions(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        let conv = Conv1d {
            name: "encoder.pos_conv_embed.conv".into(),
            inputs: self.hidden,
            outputs: self.hidden,
            kernel: self.position_kernel,
            stride: 1,
            padding: self.position_kernel / 2,
            groups: self.position_groups,
        };
        let sequence = b.transpose(x, &[0, 2, 1])?;
        let y = match normed_filter(b, weights, &conv)? {
            Some(filter) => conv.by(b, weights, sequence, filter)?,
            None => conv.apply(b, weights, sequence)?,
        };
        // An even kernel reaches one frame further; the last goes.
        let frames = b.shape(sequence)[2].clone();
        let y = b.slice_axis(y, 2, Dim::from(0), frames)?;
        let y = self.extractor_activation.apply(b, y)?;
        Ok(b.transpose(y, &[0, 2, 1])?)
    }

    fn layer(&self, number: usize) -> EncoderLayer {
        let name = |part: &str| format!("encoder.layers.{number}.{part}");
        let head_size = self.hidden / self.heads;
        EncoderLayer {
            residual: Residual {
                order: match self.stable {
                    true => NormOrder::Before,
                    false => NormOrder::After,
                },
                norm: Norm::layer(self.hidden, self.epsilon),
            },
            attention: MultiHead {
                query: name("attention.q_proj"),
                key: name("attention.k_proj"),
                value: name("attention.v_proj"),
                output: name("attention.out_proj"),
                hidden: self.hidden,
                heads: self.heads,
                head_size,
                scale: MultiHead::usual_scale(head_size),
            },
            attention_norm: name("layer_norm"),
            feed_forward: FeedForward {
                gate: None,
                up: name("feed_forward.intermediate_dense"),
                down: name("feed_forward.output_dense"),
                hidden: self.hidden,
                inner: self.feed_forward,
                activation: self.activation,
            },
            feed_forward_norm: name("final_layer_norm"),
        }
    }
}

/// Group normalization with a group a channel (Wu & He 2018): each channel of `x [batch, channels, length]`
/// normalized over time.
fn over_time(
    b: &mut GraphBuilder,
    weights: &Weights<'_>,
    name: &str,
    channels: usize,
    x: ValueId,
) -> Result<ValueId, ModelError> {
    let over_time = Op::LayerNormalization(LayerNormalization {
        axes: vec![2],
        epsilon: EPSILON,
        scale: false,
        bias: false,
    });
    let normal = b.op(over_time, &[x])?;
    let mut column = |part: &str| -> Result<ValueId, ModelError> {
        let vector = weights.vector(b, &format!("{name}.{part}"), channels)?;
        Ok(b.reshape(vector, vec![Dim::from(channels), Dim::from(1)])?)
    };
    let (scale, bias) = (column("weight")?, column("bias")?);
    let scaled = b.mul(normal, scale)?;
    Ok(b.add_values(scaled, bias)?)
}

/// The filter of a convolution whose weight is kept as direction and length, a length a place of the kernel
/// (Salimans & Kingma 2016): `g · v / ‖v‖`. `None` where the checkpoint has the filter itself.
fn normed_filter(
    b: &mut GraphBuilder,
    weights: &Weights<'_>,
    conv: &Conv1d,
) -> Result<Option<ValueId>, ModelError> {
    let name = &conv.name;
    let namings = [
        ["weight_g", "weight_v"],
        [
            "parametrizations.weight.original0",
            "parametrizations.weight.original1",
        ],
    ];
    let found = namings
        .into_iter()
        .map(|parts| parts.map(|part| format!("{name}.{part}")))
        .find(|parts| parts.iter().all(|part| weights.contains(part)));
    let Some([length, direction]) = found else {
        return Ok(None);
    };
    let channels = conv.inputs / conv.groups;
    let length = weights.tensor(b, &length, &[1, 1, conv.kernel])?;
    let direction = weights.tensor(b, &direction, &[conv.outputs, channels, conv.kernel])?;
    let squares = b.mul(direction, direction)?;
    let norm = b.reduce(ReduceKind::Sum, squares, &[0, 1], true)?;
    let norm = b.unary(Unary::Sqrt, norm)?;
    let factor = b.binary(Binary::Div, length, norm)?;
    let filter = b.mul(direction, factor)?;
    let shape = [conv.outputs, channels, 1, conv.kernel].map(Dim::from);
    Ok(Some(b.reshape(filter, shape.to_vec())?))
}

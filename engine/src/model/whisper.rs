//! Whisper (Radford et al. 2022): a pre-norm encoder-decoder from log-mel spectrograms to text.

use super::block::{
    Activation, Conv1d, EncoderLayer, FeedForward, MultiHead, Norm, NormOrder, Residual,
};
use super::config::one_id;
use super::encoder_decoder::{DecoderInputs, Source, causal_attention, cross_attention, remember};
use super::{
    BuiltModel, CausalLm, Config, ConfigError, EncoderDecoder, MAX_CHUNK, ModelError, ModelKind,
    SourceKind, Weights,
};
use crate::format::Metadata;
use crate::graph::{Dim, Graph, GraphBuilder, ValueId};
use crate::tensor::DataType;

/// What the second convolution divides the number of frames by.
const STRIDE: usize = 2;

/// PyTorch's default, which no config names.
const EPSILON: f32 = 1e-5;

/// A window of sound, or a text, longer than this is no Whisper's.
const MOST_POSITIONS: usize = 1 << 16;

struct Half {
    layers: usize,
    heads: usize,
    feed_forward: usize,
    positions: usize,
}

struct WhisperConfig {
    vocabulary: usize,
    hidden: usize,
    mels: usize,
    encoder: Half,
    decoder: Half,
    activation: Activation,
    /// What token embeddings are multiplied with.
    embedding_scale: Option<f32>,
    start_id: Option<u32>,
    eos_ids: Vec<u32>,
}

pub(super) fn from_config(
    config: &Config,
    weights: &Weights<'_>,
) -> Result<BuiltModel, ModelError> {
    let hidden = config.size("d_model")?;
    let half = |name: &str, positions: &str| -> Result<Half, ConfigError> {
        let heads = config.size(&format!("{name}_attention_heads"))?;
        Ok(Half {
            layers: config.size(&format!("{name}_layers"))?,
            heads,
            feed_forward: config.size(&format!("{name}_ffn_dim"))?,
            positions: config.size_up_to(positions, MOST_POSITIONS)?,
        })
    };
    let scaled = config.bool_or("scale_embedding", false)?;
    let activation = config.str("activation_function").unwrap_or("gelu");
    let whisper = WhisperConfig {
        vocabulary: config.size("vocab_size")?,
        hidden,
        mels: config.size_up_to("num_mel_bins", MOST_POSITIONS)?,
        encoder: half("encoder", "max_source_positions")?,
        decoder: half("decoder", "max_target_positions")?,
        activation: Activation::named("activation_function", activation)?,
        embedding_scale: scaled.then(|| (hidden as f32).sqrt()),
        start_id: one_id(config, "decoder_start_token_id")?,
        eos_ids: config.ids("eos_token_id")?,
    };
    build(&whisper, weights)
}

/// From a CTranslate2 file, which has sizes only where the tensors do not say them.
pub(super) fn from_ctranslate2(
    metadata: &Metadata,
    weights: &Weights<'_>,
) -> Result<BuiltModel, ModelError> {
    let weights = &weights.with_optional_prefix("model.", "decoder.embed_tokens.weight");
    let number = |name: &str| metadata.i64(&format!("ctranslate2.{name}")).ok();
    // A file that says nothing, as older ones do, has what the paper has.
    for (name, usual) in [("encoder/pre_norm", 1), ("decoder/pre_norm", 1)] {
        let got = number(name).unwrap_or(usual);
        if got != usual {
            return Err(unsupported(name, got));
        }
    }
    for name in ["decoder/activation", "encoder/activation"] {
        // 0 ReLU, 1 GELU with tanh, 2 Swish, 3 GELU; Whisper's are converted with 3 or, before it was told apart, 1.
        let got = number(name).unwrap_or(3);
        if got != 1 && got != 3 {
            return Err(unsupported(name, got));
        }
    }
    let hidden = weights.columns("decoder.embed_tokens.weight").unwrap_or(0);
    let half = |name: &str| -> Result<Half, ModelError> {
        let layers = (0..).take_while(|layer| {
            weights.contains(&format!("{name}.layers.{layer}.final_layer_norm.weight"))
        });
        let heads = metadata
            .usize(&format!("ctranslate2.{name}/num_heads"))
            .map_err(ConfigError::from)?;
        Ok(Half {
            layers: layers.count(),
            heads,
            feed_forward: weights
                .rows(&format!("{name}.layers.0.fc1.weight"))
                .unwrap_or(0),
            positions: weights
                .rows(&format!("{name}.embed_positions.weight"))
                .unwrap_or(0),
        })
    };
    let scaled = number("decoder/scale_embeddings").unwrap_or(0) != 0;
    let whisper = WhisperConfig {
        vocabulary: weights.rows("decoder.embed_tokens.weight").unwrap_or(0),
        hidden,
        mels: weights.columns("encoder.conv1.weight").unwrap_or(0),
        encoder: half("encoder")?,
        decoder: half("decoder")?,
        activation: Activation::Gelu,
        embedding_scale: scaled.then(|| (hidden as f32).sqrt()),
        start_id: None,
        eos_ids: Vec::new(),
    };
    build(&whisper, weights)
}

fn unsupported(name: &str, got: i64) -> ModelError {
    ConfigError::Value {
        key: format!("ctranslate2.{name}"),
        got: got.to_string(),
        wanted: "what Whisper has",
    }
    .into()
}

fn build(config: &WhisperConfig, weights: &Weights<'_>) -> Result<BuiltModel, ModelError> {
    for (half, heads) in [
        ("encoder", config.encoder.heads),
        ("decoder", config.decoder.heads),
    ] {
        if heads == 0 || !config.hidden.is_multiple_of(heads) {
            return Err(ConfigError::Value {
                key: format!("{half}_attention_heads"),
                got: heads.to_string(),
                wanted: "a divisor of d_model",
            }
            .into());
        }
    }
    let weights = &weights.with_optional_prefix("model.", "decoder.embed_tokens.weight");
    let model = Builder { config, weights };
    Ok(BuiltModel {
        architecture: "whisper",
        graph: model.decoder()?,
        kind: ModelKind::EncoderDecoder(EncoderDecoder {
            encoder: model.encoder()?,
            decoder: CausalLm {
                vocabulary: config.vocabulary,
                context_length: config.decoder.positions,
                layers: config.decoder.layers,
                eos_ids: config.eos_ids.clone(),
            },
            source: SourceKind::Features {
                channels: config.mels,
                frames: STRIDE * config.encoder.positions,
            },
            start_id: config.start_id,
        }),
    })
}

struct Builder<'a> {
    config: &'a WhisperConfig,
    weights: &'a Weights<'a>,
}

impl Builder<'_> {
    fn encoder(&self) -> Result<Graph, ModelError> {
        let (config, weights) = (self.config, self.weights);
        let half = &config.encoder;
        let mut b = GraphBuilder::new();
        let frames = Dim::from(STRIDE * half.positions);
        let shape = vec![Dim::symbol("batch"), Dim::from(config.mels), frames];
        let features = b.input("input_features", DataType::F32, shape)?;

        let first = self.stem(&mut b, "encoder.conv1", config.mels, 1, features)?;
        let second = self.stem(&mut b, "encoder.conv2", config.hidden, STRIDE, first)?;
        let x = b.transpose(second, &[0, 2, 1])?;
        let name = "encoder.embed_positions.weight";
        let positions = weights.matrix(&mut b, name, half.positions, config.hidden)?;
        let positions = b.cast(positions, DataType::F32)?;
        let mut x = b.add_values(x, positions)?;
        for layer in 0..half.layers {
            let layer = EncoderLayer {
                residual: self.residual(),
                attention: self.attention("encoder", layer, "self_attn"),
                attention_norm: format!("encoder.layers.{layer}.self_attn_layer_norm"),
                feed_forward: self.feed_forward("encoder", layer),
                feed_forward_norm: format!("encoder.layers.{layer}.final_layer_norm"),
            };
            x = layer.apply(&mut b, weights, x, None)?;
        }
        let encoded = self
            .norm()
            .apply(&mut b, weights, "encoder.layer_norm", x)?;
        for layer in 0..config.decoder.layers {
            let attention = self.attention("decoder", layer, "encoder_attn");
            let capacity = Dim::from(half.positions);
            remember(&mut b, weights, &attention, layer, encoded, capacity)?;
        }
        b.output("encoder_last_hidden_state", encoded)?;
        Ok(b.finish())
    }

    fn decoder(&self) -> Result<Graph, ModelError> {
        let (config, weights) = (self.config, self.weights);
        let half = &config.decoder;
        let mut b = GraphBuilder::new();
        let inputs = DecoderInputs::new(&mut b)?;
        let source = Source::whole(config.encoder.positions);

        let (rows, hidden) = (config.vocabulary, config.hidden);
        let embedding = weights.matrix(&mut b, "decoder.embed_tokens.weight", rows, hidden)?;
        let mut x = b.embedding(embedding, inputs.ids)?;
        if let Some(scale) = config.embedding_scale {
            let scale = b.number(scale)?;
            x = b.mul(x, scale)?;
        }
        let name = "decoder.embed_positions.weight";
        let table = weights.matrix(&mut b, name, half.positions, hidden)?;
        let at = inputs.positions(&mut b, MAX_CHUNK)?;
        let positions = b.embedding(table, at)?;
        let mut x = b.add_values(x, positions)?;
        for layer in 0..half.layers {
            let own = self.attention("decoder", layer, "self_attn");
            let cross = self.attention("decoder", layer, "encoder_attn");
            let feed_forward = self.feed_forward("decoder", layer);
            let residual = self.residual();
            let norm = |name: &str| format!("decoder.layers.{layer}.{name}_layer_norm");
            x = residual.around(&mut b, weights, &norm("self_attn"), x, |b, x| {
                causal_attention(b, weights, &own, layer, x, inputs.position, None)
            })?;
            x = residual.around(&mut b, weights, &norm("encoder_attn"), x, |b, x| {
                cross_attention(b, weights, &cross, layer, x, &source)
            })?;
            x = residual.around(&mut b, weights, &norm("final"), x, |b, x| {
                feed_forward.apply(b, weights, x)
            })?;
        }
        let wanted = inputs.wanted(&mut b, x, hidden)?;
        let norm = self.norm();
        let last = norm.apply(&mut b, weights, "decoder.layer_norm", wanted)?;
        let logits = b.block_matmul(last, embedding, None)?;
        b.output("logits", logits)?;
        Ok(b.finish())
    }

    /// One of the two convolutions over time at the encoder's beginning.
    fn stem(
        &self,
        b: &mut GraphBuilder,
        name: &str,
        inputs: usize,
        stride: usize,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        let conv = Conv1d {
            name: name.to_owned(),
            inputs,
            outputs: self.config.hidden,
            kernel: 3,
            stride,
            padding: 1,
            groups: 1,
        };
        let y = conv.apply(b, self.weights, x)?;
        Ok(Activation::Gelu.apply(b, y)?)
    }

    fn norm(&self) -> Norm {
        Norm::layer(self.config.hidden, EPSILON)
    }

    fn residual(&self) -> Residual {
        Residual {
            order: NormOrder::Before,
            norm: self.norm(),
        }
    }

    fn half(&self, name: &str) -> &Half {
        match name {
            "encoder" => &self.config.encoder,
            _ => &self.config.decoder,
        }
    }

    fn attention(&self, half: &str, layer: usize, module: &str) -> MultiHead {
        let name = |part: &str| format!("{half}.layers.{layer}.{module}.{part}_proj");
        let heads = self.half(half).heads;
        let head_size = self.config.hidden / heads;
        MultiHead {
            query: name("q"),
            key: name("k"),
            value: name("v"),
            output: name("out"),
            hidden: self.config.hidden,
            heads,
            head_size,
            scale: MultiHead::usual_scale(head_size),
        }
    }

    fn feed_forward(&self, half: &str, layer: usize) -> FeedForward {
        FeedForward {
            gate: None,
            up: format!("{half}.layers.{layer}.fc1"),
            down: format!("{half}.layers.{layer}.fc2"),
            hidden: self.config.hidden,
            inner: self.half(half).feed_forward,
            activation: self.config.activation,
        }
    }
}

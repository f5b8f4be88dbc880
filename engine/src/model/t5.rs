//! T5 (Raffel et al. 2020) and T5 1.1, which flan-t5 is too: an encoder-decoder of pre-norm layers with RMS norms,
//! no biases, and attention that is not scaled but biased by relative position.

use super::block::{
    Activation, EncoderLayer, FeedForward, MultiHead, Norm, NormOrder, RelativeBias, Residual,
    mask_bias, positions,
};
use super::config::one_id;
use super::encoder_decoder::{
    DecoderInputs, Source, causal_attention, cross_attention, remember, source_capacity,
};
use super::{
    BuildOptions, BuiltModel, CausalLm, Config, EncoderDecoder, MAX_CHUNK, ModelError, ModelKind,
    SourceKind, Weights,
};
use crate::graph::{Dim, Graph, GraphBuilder, ValueId};
use crate::tensor::DataType;

/// T5 has no last position, but its biases take memory with the square of the length.
const DEFAULT_LENGTH: usize = 2048;
const MOST_LENGTH: usize = 1 << 14;

/// A head or a feed-forward network with sizes beyond these is no T5.
const MOST_HEADS: usize = 1 << 12;
const MOST_HEAD_SIZE: usize = 1 << 12;

struct T5Config {
    vocabulary: usize,
    hidden: usize,
    head_size: usize,
    heads: usize,
    feed_forward: usize,
    encoder_layers: usize,
    decoder_layers: usize,
    buckets: usize,
    max_distance: usize,
    activation: Activation,
    gated: bool,
    epsilon: f32,
    /// The head is the embedding's.
    tied: bool,
    /// What the decoder's last state is multiplied with before the head.
    output_scale: Option<f32>,
    length: usize,
    start_id: u32,
    eos_ids: Vec<u32>,
}

pub(super) fn from_config(
    config: &Config,
    weights: &Weights<'_>,
    options: &BuildOptions,
) -> Result<BuiltModel, ModelError> {
    let t5 = T5Config::read(config, options)?;
    let model = Builder {
        config: &t5,
        weights,
    };
    Ok(BuiltModel {
        architecture: "t5",
        graph: model.decoder()?,
        kind: ModelKind::EncoderDecoder(EncoderDecoder {
            encoder: model.encoder()?,
            decoder: CausalLm {
                vocabulary: t5.vocabulary,
                context_length: t5.length,
                layers: t5.decoder_layers,
                eos_ids: t5.eos_ids.clone(),
            },
            source: SourceKind::Tokens {
                max_tokens: t5.length,
            },
            start_id: Some(t5.start_id),
        }),
    })
}

impl T5Config {
    fn read(config: &Config, options: &BuildOptions) -> Result<T5Config, ModelError> {
        let hidden = config.size("d_model")?;
        let encoder_layers = config.size("num_layers")?;
        let projection = config.str("feed_forward_proj").unwrap_or("relu");
        let (gated, activation) = match projection {
            // Not the exact GELU, which the name would say, but the one with tanh.
            "gated-gelu" => (true, "gelu_new"),
            other => match other.strip_prefix("gated-") {
                Some(activation) => (true, activation),
                None => (false, other),
            },
        };
        let tied = config.bool_or("tie_word_embeddings", true)?;
        let scaled = config.bool_or("scale_decoder_outputs", tied)?;
        Ok(T5Config {
            vocabulary: config.size("vocab_size")?,
            hidden,
            head_size: config.size_up_to("d_kv", MOST_HEAD_SIZE)?,
            heads: config.size_up_to("num_heads", MOST_HEADS)?,
            feed_forward: config.size("d_ff")?,
            encoder_layers,
            decoder_layers: config.size_or("num_decoder_layers", encoder_layers)?,
            buckets: config.size_or("relative_attention_num_buckets", 32)?,
            max_distance: config.size_or("relative_attention_max_distance", 128)?,
            activation: Activation::named("feed_forward_proj", activation)?,
            gated,
            epsilon: config.f32_or("layer_norm_epsilon", 1e-6)?,
            tied,
            output_scale: scaled.then(|| 1.0 / (hidden as f32).sqrt()),
            length: options
                .context_length
                .unwrap_or(DEFAULT_LENGTH)
                .clamp(1, MOST_LENGTH),
            start_id: one_id(config, "decoder_start_token_id")?.unwrap_or(0),
            eos_ids: config.ids("eos_token_id")?,
        })
    }

    fn norm(&self) -> Norm {
        Norm::rms(self.hidden, self.epsilon)
    }

    fn residual(&self) -> Residual {
        Residual {
            order: NormOrder::Before,
            norm: self.norm(),
        }
    }

    fn attention(&self, name: &str) -> MultiHead {
        MultiHead {
            query: format!("{name}.q"),
            key: format!("{name}.k"),
            value: format!("{name}.v"),
            output: format!("{name}.o"),
            hidden: self.hidden,
            heads: self.heads,
            head_size: self.head_size,
            scale: 1.0,
        }
    }

    fn feed_forward(&self, layer: &str) -> FeedForward {
        let name = |part: &str| format!("{layer}.DenseReluDense.{part}");
        FeedForward {
            gate: self.gated.then(|| name("wi_0")),
            up: name(if self.gated { "wi_1" } else { "wi" }),
            down: name("wo"),
            hidden: self.hidden,
            inner: self.feed_forward,
            activation: self.activation,
        }
    }

    fn relative_bias(&self, bidirectional: bool) -> Result<RelativeBias, ModelError> {
        Ok(RelativeBias::new(
            self.buckets,
            self.max_distance,
            bidirectional,
        )?)
    }

    fn cross_attention(&self, layer: usize) -> MultiHead {
        self.attention(&format!("decoder.block.{layer}.layer.1.EncDecAttention"))
    }
}

struct Builder<'a> {
    config: &'a T5Config,
    weights: &'a Weights<'a>,
}

impl Builder<'_> {
    fn encoder(&self) -> Result<Graph, ModelError> {
        let (config, weights) = (self.config, self.weights);
        let mut b = GraphBuilder::new();
        let (batch, tokens) = (Dim::symbol("batch"), Dim::symbol("tokens"));
        let shape = vec![batch, tokens.clone()];
        let ids = b.input("input_ids", DataType::I32, shape.clone())?;
        let mask = b.input("attention_mask", DataType::I32, shape)?;

        let table = self.embedding(&mut b)?;
        let mut x = b.embedding(table, ids)?;
        let at = positions(&mut b, tokens.clone(), config.length)?;
        let queries = b.reshape(at, vec![Dim::from(1), tokens.clone(), Dim::from(1)])?;
        let keys = b.reshape(at, vec![Dim::from(1), Dim::from(1), tokens])?;
        let table = self.bias_table(&mut b, "encoder")?;
        let relative = config.relative_bias(true)?;
        let relative = relative.apply(&mut b, table, queries, keys)?;
        let hidden = mask_bias(&mut b, mask)?;
        let bias = b.add_values(relative, hidden)?;
        for layer in 0..config.encoder_layers {
            let block = format!("encoder.block.{layer}.layer");
            let layer = EncoderLayer {
                residual: config.residual(),
                attention: config.attention(&format!("{block}.0.SelfAttention")),
                attention_norm: format!("{block}.0.layer_norm"),
                feed_forward: config.feed_forward(&format!("{block}.1")),
                feed_forward_norm: format!("{block}.1.layer_norm"),
            };
            x = layer.apply(&mut b, weights, x, Some(bias))?;
        }
        let norm = config.norm();
        let encoded = norm.apply(&mut b, weights, "encoder.final_layer_norm", x)?;
        for layer in 0..config.decoder_layers {
            let attention = config.cross_attention(layer);
            let capacity = source_capacity();
            remember(&mut b, weights, &attention, layer, encoded, capacity)?;
        }
        b.output("encoder_last_hidden_state", encoded)?;
        Ok(b.finish())
    }

    fn decoder(&self) -> Result<Graph, ModelError> {
        let (config, weights) = (self.config, self.weights);
        let mut b = GraphBuilder::new();
        let inputs = DecoderInputs::new(&mut b)?;
        let source = Source::masked(&mut b)?;

        let embedding = self.embedding(&mut b)?;
        let mut x = b.embedding(embedding, inputs.ids)?;
        let bias = self.causal_bias(&mut b, &inputs)?;
        for layer in 0..config.decoder_layers {
            let block = format!("decoder.block.{layer}.layer");
            let own = config.attention(&format!("{block}.0.SelfAttention"));
            let cross = config.cross_attention(layer);
            let feed_forward = config.feed_forward(&format!("{block}.2"));
            let residual = config.residual();
            let norm = |sublayer: usize| format!("{block}.{sublayer}.layer_norm");
            x = residual.around(&mut b, weights, &norm(0), x, |b, x| {
                let position = inputs.position;
                causal_attention(b, weights, &own, layer, x, position, Some(bias))
            })?;
            x = residual.around(&mut b, weights, &norm(1), x, |b, x| {
                cross_attention(b, weights, &cross, layer, x, &source)
            })?;
            x = residual.around(&mut b, weights, &norm(2), x, |b, x| {
                feed_forward.apply(b, weights, x)
            })?;
        }
        let wanted = inputs.wanted(&mut b, x, config.hidden)?;
        let norm = config.norm();
        let mut last = norm.apply(&mut b, weights, "decoder.final_layer_norm", wanted)?;
        if let Some(scale) = config.output_scale {
            let scale = b.number(scale)?;
            last = b.mul(last, scale)?;
        }
        // A checkpoint may say that the head is its own and yet have none: then it was saved tied.
        let own_head = !config.tied && weights.contains("lm_head.weight");
        let head = match own_head {
            true => weights.matrix(&mut b, "lm_head.weight", config.vocabulary, config.hidden)?,
            false => embedding,
        };
        let logits = b.block_matmul(last, head, None)?;
        b.output("logits", logits)?;
        Ok(b.finish())
    }

    /// The embedding that encoder, decoder and tied head share, by whichever name the checkpoint has it.
    fn embedding(&self, b: &mut GraphBuilder) -> Result<ValueId, ModelError> {
        let shared = "shared.weight";
        let others = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];
        let names = [shared].into_iter().chain(others);
        let found = names.into_iter().find(|name| self.weights.contains(name));
        let (rows, columns) = (self.config.vocabulary, self.config.hidden);
        self.weights
            .matrix(b, found.unwrap_or(shared), rows, columns)
    }

    fn bias_table(&self, b: &mut GraphBuilder, half: &str) -> Result<ValueId, ModelError> {
        let name = format!("{half}.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
        self.weights
            .matrix(b, &name, self.config.buckets, self.config.heads)
    }

    /// The bias of the decoder's own attention, `[batch, heads, tokens, capacity]`, which its layers share.
    fn causal_bias(
        &self,
        b: &mut GraphBuilder,
        inputs: &DecoderInputs,
    ) -> Result<ValueId, ModelError> {
        let (batch, tokens) = (Dim::symbol("batch"), Dim::symbol("tokens"));
        let capacity = Dim::symbol("capacity");
        let queries = inputs.positions(b, MAX_CHUNK)?;
        let queries = b.reshape(queries, vec![batch, tokens, Dim::from(1)])?;
        let keys = positions(b, capacity.clone(), self.config.length)?;
        let keys = b.reshape(keys, vec![Dim::from(1), Dim::from(1), capacity])?;
        let table = self.bias_table(b, "decoder")?;
        self.config
            .relative_bias(false)?
            .apply(b, table, queries, keys)
    }
}

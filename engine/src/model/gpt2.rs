//! GPT-2 (Radford et al. 2019): a pre-norm decoder with learned positions and one layer for query, key and value.

use super::block::{Activation, Linear, Norm, NormOrder, Residual};
use super::config::wrong;
use super::encoder_decoder::DecoderInputs;
use super::{
    BuildOptions, BuiltModel, CausalLm, Config, ConfigError, DEFAULT_CONTEXT, MAX_CHUNK,
    ModelError, ModelKind, Weights,
};
use crate::format::Metadata;
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::tensor::DataType;

struct Gpt2Config {
    vocabulary: usize,
    hidden: usize,
    feed_forward: usize,
    layers: usize,
    heads: usize,
    /// Rows of the table of positions.
    positions: usize,
    /// Tokens of context wanted.
    context_length: usize,
    epsilon: f32,
    activation: Activation,
    /// Products of queries and keys are divided by the root of the head's size.
    scaled: bool,
    /// They are also divided by the layer's number, from 1.
    scaled_by_layer: bool,
    eos_ids: Vec<u32>,
}

/// What a checkpoint calls the tensors; `{}` stands for the layer's number.
struct Names {
    embedding: &'static str,
    positions: &'static str,
    norm: &'static str,
    attention_norm: &'static str,
    query_key_value: &'static str,
    attention_output: &'static str,
    feed_forward_norm: &'static str,
    up: &'static str,
    down: &'static str,
    /// Matrices are `[inputs, outputs]`, as those of the convolution over one position that the first release had.
    inputs_first: bool,
}

const HUGGING_FACE: Names = Names {
    embedding: "wte.weight",
    positions: "wpe.weight",
    norm: "ln_f",
    attention_norm: "h.{}.ln_1",
    query_key_value: "h.{}.attn.c_attn",
    attention_output: "h.{}.attn.c_proj",
    feed_forward_norm: "h.{}.ln_2",
    up: "h.{}.mlp.c_fc",
    down: "h.{}.mlp.c_proj",
    inputs_first: true,
};

const GGUF: Names = Names {
    embedding: "token_embd.weight",
    positions: "position_embd.weight",
    norm: "output_norm",
    attention_norm: "blk.{}.attn_norm",
    query_key_value: "blk.{}.attn_qkv",
    attention_output: "blk.{}.attn_output",
    feed_forward_norm: "blk.{}.ffn_norm",
    up: "blk.{}.ffn_up",
    down: "blk.{}.ffn_down",
    inputs_first: false,
};

pub(super) fn from_config(
    config: &Config,
    weights: &Weights<'_>,
    options: &BuildOptions,
) -> Result<BuiltModel, ModelError> {
    if let Some(cross) = config.get("add_cross_attention")
        && config.bool_or("add_cross_attention", false)?
    {
        let wanted = "false (a decoder of its own)";
        return Err(wrong("add_cross_attention", cross, wanted).into());
    }
    let hidden = config.size("n_embd")?;
    let positions = config.size("n_positions")?;
    let gpt2 = Gpt2Config {
        vocabulary: config.size("vocab_size")?,
        hidden,
        feed_forward: config.size_or("n_inner", hidden.saturating_mul(4))?,
        layers: config.size("n_layer")?,
        heads: heads("n_head", hidden, config.size("n_head")?)?,
        positions,
        context_length: options.context_length.unwrap_or(DEFAULT_CONTEXT),
        epsilon: config.f32_or("layer_norm_epsilon", 1e-5)?,
        activation: Activation::from_config(config, "activation_function", "gelu_new")?,
        scaled: config.bool_or("scale_attn_weights", true)?,
        scaled_by_layer: config.bool_or("scale_attn_by_inverse_layer_idx", false)?,
        eos_ids: config.ids("eos_token_id")?,
    };
    let inner = weights.with_optional_prefix("transformer.", HUGGING_FACE.embedding);
    build(&gpt2, &HUGGING_FACE, &inner, (weights, "lm_head.weight"))
}

pub(super) fn from_gguf(
    metadata: &Metadata,
    weights: &Weights<'_>,
    options: &BuildOptions,
) -> Result<BuiltModel, ModelError> {
    let size = |name: &str| -> Result<usize, ConfigError> {
        let key = format!("gpt2.{name}");
        let value = metadata.usize(&key)?;
        if (1..=1 << 31).contains(&value) {
            return Ok(value);
        }
        Err(ConfigError::Value {
            key,
            got: value.to_string(),
            wanted: "a size from 1 to 2^31",
        })
    };
    let hidden = size("embedding_length")?;
    let vocabulary = match weights.rows(GGUF.embedding) {
        Some(rows) => rows,
        None => size("vocab_size")?,
    };
    let gpt2 = Gpt2Config {
        vocabulary,
        hidden,
        feed_forward: size("feed_forward_length")?,
        layers: size("block_count")?,
        heads: heads(
            "gpt2.attention.head_count",
            hidden,
            size("attention.head_count")?,
        )?,
        positions: size("context_length")?,
        context_length: options.context_length.unwrap_or(DEFAULT_CONTEXT),
        epsilon: metadata
            .f32("gpt2.attention.layer_norm_epsilon")
            .map_err(ConfigError::from)?,
        activation: Activation::GeluTanh,
        scaled: true,
        scaled_by_layer: false,
        eos_ids: metadata
            .u32("tokenizer.ggml.eos_token_id")
            .into_iter()
            .collect(),
    };
    build(&gpt2, &GGUF, weights, (weights, "output.weight"))
}

fn heads(key: &str, hidden: usize, heads: usize) -> Result<usize, ConfigError> {
    if hidden.is_multiple_of(heads) {
        return Ok(heads);
    }
    Err(ConfigError::Value {
        key: key.into(),
        got: heads.to_string(),
        wanted: "a divisor of the hidden size",
    })
}

/// The head's name is outside of what may have a prefix; a checkpoint without it has it tied to the embedding.
fn build(
    config: &Gpt2Config,
    names: &Names,
    weights: &Weights<'_>,
    (outer, head): (&Weights<'_>, &str),
) -> Result<BuiltModel, ModelError> {
    let (vocabulary, hidden) = (config.vocabulary, config.hidden);
    let mut b = GraphBuilder::new();
    let inputs = DecoderInputs::new(&mut b)?;
    let embedding = weights.matrix(&mut b, names.embedding, vocabulary, hidden)?;
    let x = b.embedding(embedding, inputs.ids)?;
    let table = weights.matrix(&mut b, names.positions, config.positions, hidden)?;
    let at = inputs.positions(&mut b, MAX_CHUNK)?;
    let positions = b.embedding(table, at)?;
    let mut x = b.add_values(x, positions)?;
    let norm = Norm::layer(hidden, config.epsilon);
    let residual = Residual {
        order: NormOrder::Before,
        norm,
    };
    for number in 0..config.layers {
        let layer = Layer {
            config,
            names,
            weights,
            number,
        };
        let name = layer.name(names.attention_norm);
        x = residual.around(&mut b, weights, &name, x, |b, x| {
            layer.attention(b, x, inputs.position)
        })?;
        let name = layer.name(names.feed_forward_norm);
        x = residual.around(&mut b, weights, &name, x, |b, x| layer.feed_forward(b, x))?;
    }
    let wanted = inputs.wanted(&mut b, x, hidden)?;
    let last = norm.apply(&mut b, weights, names.norm, wanted)?;
    let head = match outer.contains(head) {
        true => outer.matrix(&mut b, head, vocabulary, hidden)?,
        false => embedding,
    };
    let logits = b.block_matmul(last, head, None)?;
    b.output("logits", logits)?;
    Ok(BuiltModel {
        architecture: "gpt2",
        graph: b.finish(),
        kind: ModelKind::CausalLm(CausalLm {
            vocabulary,
            context_length: config.positions.min(config.context_length),
            layers: config.layers,
            eos_ids: config.eos_ids.clone(),
        }),
    })
}

struct Layer<'a> {
    config: &'a Gpt2Config,
    names: &'a Names,
    weights: &'a Weights<'a>,
    number: usize,
}

impl Layer<'_> {
    fn attention(
        &self,
        b: &mut GraphBuilder,
        x: ValueId,
        position: ValueId,
    ) -> Result<ValueId, ModelError> {
        let Gpt2Config { hidden, heads, .. } = *self.config;
        let head_size = hidden / heads;
        let all = self.linear(b, self.names.query_key_value, x, hidden, 3 * hidden)?;
        let mut shape = b.shape(x)[..2].to_vec();
        shape.extend([heads, head_size].map(Dim::from));
        let mut part = |number: usize| -> Result<ValueId, ModelError> {
            let start = Dim::from(number * hidden);
            let part = b.slice_axis(all, 2, start, Dim::from(hidden))?;
            Ok(b.reshape(part, shape.clone())?)
        };
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let mut append = |what: &str, new| -> Result<ValueId, ModelError> {
            let shape = vec![
                shape[0].clone(),
                Dim::from(heads),
                Dim::symbol("capacity"),
                Dim::from(head_size),
            ];
            let state = b.state(&format!("{what}.{}", self.number), DataType::F32, shape)?;
            Ok(b.kv_append(state, new, position)?)
        };
        let (k, v) = (append("k", k)?, append("v", v)?);
        let mut scale = 1.0;
        if self.config.scaled {
            scale /= (head_size as f32).sqrt();
        }
        if self.config.scaled_by_layer {
            scale /= (self.number + 1) as f32;
        }
        let out = b.attention([q, k, v], scale, Some(position), None)?;
        let out = b.reshape(out, b.shape(x).to_vec())?;
        self.linear(b, self.names.attention_output, out, hidden, hidden)
    }

    fn feed_forward(&self, b: &mut GraphBuilder, x: ValueId) -> Result<ValueId, ModelError> {
        let Gpt2Config {
            hidden,
            feed_forward,
            ..
        } = *self.config;
        let up = self.linear(b, self.names.up, x, hidden, feed_forward)?;
        let up = self.config.activation.apply(b, up)?;
        self.linear(b, self.names.down, up, feed_forward, hidden)
    }

    fn linear(
        &self,
        b: &mut GraphBuilder,
        name: &str,
        x: ValueId,
        inputs: usize,
        outputs: usize,
    ) -> Result<ValueId, ModelError> {
        let name = &self.name(name);
        let linear = Linear {
            name,
            inputs,
            outputs,
        };
        match self.names.inputs_first {
            true => linear.apply_transposed(b, self.weights, x),
            false => linear.apply(b, self.weights, x),
        }
    }

    fn name(&self, pattern: &str) -> String {
        pattern.replace("{}", &self.number.to_string())
    }
}

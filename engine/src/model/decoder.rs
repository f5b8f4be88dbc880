//! The decoder that LLaMA and its kin share: RMS norm, rotary grouped-query attention, gated feed-forward.

use super::block::{Activation, Linear, Rope, RopeTables};
use super::{BuiltModel, CausalLm, ModelError, ModelKind, Weights};
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::tensor::DataType;

/// Sizes and kinds of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    pub vocabulary: usize,
    pub hidden: usize,
    pub feed_forward: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_size: usize,
    pub context_length: usize,
    pub epsilon: f32,
    pub activation: Activation,
    pub rope: Rope,
    pub eos_ids: Vec<u32>,
}

/// What a checkpoint calls the decoder's tensors; `{}` stands for the layer's number.
pub(super) struct Names {
    pub(super) embedding: &'static str,
    pub(super) norm: &'static str,
    pub(super) head: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) attention_output: &'static str,
    pub(super) feed_forward_norm: &'static str,
    pub(super) gate: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
}

pub(super) const HUGGING_FACE: Names = Names {
    embedding: "model.embed_tokens.weight",
    norm: "model.norm.weight",
    head: "lm_head.weight",
    attention_norm: "model.layers.{}.input_layernorm.weight",
    query: "model.layers.{}.self_attn.q_proj",
    key: "model.layers.{}.self_attn.k_proj",
    value: "model.layers.{}.self_attn.v_proj",
    attention_output: "model.layers.{}.self_attn.o_proj",
    feed_forward_norm: "model.layers.{}.post_attention_layernorm.weight",
    gate: "model.layers.{}.mlp.gate_proj",
    up: "model.layers.{}.mlp.up_proj",
    down: "model.layers.{}.mlp.down_proj",
};

pub(super) const GGUF: Names = Names {
    embedding: "token_embd.weight",
    norm: "output_norm.weight",
    head: "output.weight",
    attention_norm: "blk.{}.attn_norm.weight",
    query: "blk.{}.attn_q",
    key: "blk.{}.attn_k",
    value: "blk.{}.attn_v",
    attention_output: "blk.{}.attn_output",
    feed_forward_norm: "blk.{}.ffn_norm.weight",
    gate: "blk.{}.ffn_gate",
    up: "blk.{}.ffn_up",
    down: "blk.{}.ffn_down",
};

/// Builds the graph; the head is tied to the embedding where the checkpoint has none of its own.
pub(super) fn build(
    architecture: &'static str,
    config: &DecoderConfig,
    names: &Names,
    weights: &Weights<'_>,
) -> Result<BuiltModel, ModelError> {
    let mut b = GraphBuilder::new();
    let (batch, tokens) = (Dim::symbol("batch"), Dim::symbol("tokens"));
    let ids = b.input(
        "input_ids",
        DataType::I32,
        vec![batch.clone(), tokens.clone()],
    )?;
    let position = b.input("position", DataType::I32, vec![batch.clone()])?;
    let rows = b.input("rows", DataType::I32, vec![Dim::symbol("rows")])?;
    // The last chunk of a prefill may be padded beyond the context; its positions need rows too.
    let positions = config.context_length + super::MAX_CHUNK;
    let tables = config.rope.tables(&mut b, positions)?;

    let embedding = weights.matrix(&mut b, names.embedding, config.vocabulary, config.hidden)?;
    let mut x = b.embedding(embedding, ids)?;
    for layer in 0..config.layers {
        let block = Block {
            config,
            names,
            weights,
            layer,
            tables,
            position,
        };
        x = block.apply(&mut b, x)?;
    }
    // Only the positions asked for go through the final norm and the head.
    let hidden = Dim::from(config.hidden);
    let flat = b.reshape(x, vec![Dim::symbol("positions"), hidden])?;
    let wanted = b.gather(flat, rows, 0)?;
    let scale = weights.vector(&mut b, names.norm, config.hidden)?;
    let normal = b.rms_normalization(wanted, scale, config.epsilon)?;
    let head = if weights.contains(names.head) {
        weights.matrix(&mut b, names.head, config.vocabulary, config.hidden)?
    } else {
        embedding
    };
    let logits = b.block_matmul(normal, head, None)?;
    b.output("logits", logits)?;
    Ok(BuiltModel {
        architecture,
        graph: b.finish(),
        kind: ModelKind::CausalLm(CausalLm {
            vocabulary: config.vocabulary,
            context_length: config.context_length,
            layers: config.layers,
            eos_ids: config.eos_ids.clone(),
        }),
    })
}

struct Block<'a> {
    config: &'a DecoderConfig,
    names: &'a Names,
    weights: &'a Weights<'a>,
    layer: usize,
    tables: RopeTables,
    position: ValueId,
}

impl Block<'_> {
    fn apply(&self, b: &mut GraphBuilder, x: ValueId) -> Result<ValueId, ModelError> {
        let normal = self.norm(b, x, self.names.attention_norm)?;
        let attended = self.attention(b, normal)?;
        let x = b.add_values(x, attended)?;
        let normal = self.norm(b, x, self.names.feed_forward_norm)?;
        let fed = self.feed_forward(b, normal)?;
        Ok(b.add_values(x, fed)?)
    }

    fn attention(&self, b: &mut GraphBuilder, x: ValueId) -> Result<ValueId, ModelError> {
        let DecoderConfig {
            hidden,
            heads,
            kv_heads,
            head_size,
            ..
        } = *self.config;
        let (queries, keys) = (heads * head_size, kv_heads * head_size);
        let q = self.linear(b, self.names.query, x, hidden, queries)?;
        let k = self.linear(b, self.names.key, x, hidden, keys)?;
        let v = self.linear(b, self.names.value, x, hidden, keys)?;
        let q = self.split_heads(b, q, heads)?;
        let k = self.split_heads(b, k, kv_heads)?;
        let v = self.split_heads(b, v, kv_heads)?;
        let q = self.rotate(b, q)?;
        let k = self.rotate(b, k)?;
        let k = self.cache(b, "k", k)?;
        let v = self.cache(b, "v", v)?;
        let scale = 1.0 / (head_size as f32).sqrt();
        let out = b.attention([q, k, v], scale, Some(self.position), None)?;
        let mut shape = b.shape(out)[..2].to_vec();
        shape.push(Dim::from(queries));
        let out = b.reshape(out, shape)?;
        self.linear(b, self.names.attention_output, out, queries, hidden)
    }

    /// `down(activation(gate(x)) · up(x))` (Shazeer 2020, GLU variants)
    fn feed_forward(&self, b: &mut GraphBuilder, x: ValueId) -> Result<ValueId, ModelError> {
        let DecoderConfig {
            hidden,
            feed_forward,
            ..
        } = *self.config;
        let gate = self.linear(b, self.names.gate, x, hidden, feed_forward)?;
        let up = self.linear(b, self.names.up, x, hidden, feed_forward)?;
        let gate = self.config.activation.apply(b, gate)?;
        let product = b.mul(gate, up)?;
        self.linear(b, self.names.down, product, feed_forward, hidden)
    }

    fn norm(&self, b: &mut GraphBuilder, x: ValueId, name: &str) -> Result<ValueId, ModelError> {
        let scale = self
            .weights
            .vector(b, &self.name(name), self.config.hidden)?;
        Ok(b.rms_normalization(x, scale, self.config.epsilon)?)
    }

    fn linear(
        &self,
        b: &mut GraphBuilder,
        name: &str,
        x: ValueId,
        inputs: usize,
        outputs: usize,
    ) -> Result<ValueId, ModelError> {
        let linear = Linear {
            name: &self.name(name),
            inputs,
            outputs,
        };
        linear.apply(b, self.weights, x)
    }

    fn split_heads(
        &self,
        b: &mut GraphBuilder,
        x: ValueId,
        heads: usize,
    ) -> Result<ValueId, ModelError> {
        let mut shape = b.shape(x)[..2].to_vec();
        shape.extend([Dim::from(heads), Dim::from(self.config.head_size)]);
        Ok(b.reshape(x, shape)?)
    }

    fn rotate(&self, b: &mut GraphBuilder, x: ValueId) -> Result<ValueId, ModelError> {
        let RopeTables { cos, sin } = self.tables;
        let interleaved = self.config.rope.interleaved;
        Ok(b.rotary_embedding(x, cos, sin, self.position, interleaved)?)
    }

    fn cache(&self, b: &mut GraphBuilder, what: &str, new: ValueId) -> Result<ValueId, ModelError> {
        let shape = vec![
            Dim::symbol("batch"),
            Dim::from(self.config.kv_heads),
            Dim::symbol("capacity"),
            Dim::from(self.config.head_size),
        ];
        let state = b.state(&format!("{what}.{}", self.layer), DataType::F32, shape)?;
        Ok(b.kv_append(state, new, self.position)?)
    }

    fn name(&self, pattern: &str) -> String {
        pattern.replace("{}", &self.layer.to_string())
    }
}

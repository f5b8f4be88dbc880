//! CLAP (Wu et al. 2023): sounds and texts as vectors of one space. The sound's tower is HTS-AT (Chen et al. 2022), a
//! Swin transformer over a mel spectrogram folded into a square; the text's is RoBERTa.

use super::bert::TowerInputs;
use super::block::{Activation, FeedForward, Linear, Norm};
use super::config::wrong;
use super::roberta;
use super::swin::{Grid, SwinLayer, merge_patches};
use super::{BuiltModel, Config, ConfigError, Feedforward, ModelError, ModelKind, Weights};
use crate::graph::op::{Binary, ReduceKind, Unary, Window};
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::tensor::{DataType, Tensor};

/// Of the batch normalization, which no config names.
const BATCH_NORM_EPSILON: f32 = 1e-5;

/// Of the norms in PyTorch that no config names.
const EPSILON: f32 = 1e-5;

/// Sides, channels and stages beyond these are no model's; constants grow with them.
const MOST_SIDE: usize = 1 << 12;
const MOST_CHANNELS: usize = 1 << 16;
const MOST_WINDOW: usize = 32;

struct SoundConfig {
    /// Bins of the spectrogram.
    mels: usize,
    /// Side of the square that the spectrogram is folded into.
    side: usize,
    patch: usize,
    stride: usize,
    /// Channels of a patch before the first stage.
    channels: usize,
    depths: Vec<usize>,
    heads: Vec<usize>,
    window: usize,
    ratio: f32,
    patch_norm: bool,
    activation: Activation,
    epsilon: f32,
}

/// The two layers after a tower.
struct Projection<'a> {
    name: &'a str,
    inputs: usize,
    size: usize,
    activation: Activation,
}

pub(super) fn from_config(
    config: &Config,
    weights: &Weights<'_>,
) -> Result<BuiltModel, ModelError> {
    let part = |key: &str| -> Result<Config, ConfigError> {
        let part = config.object(key)?;
        part.ok_or_else(|| ConfigError::Missing(key.into()))
    };
    let (text, sound) = (part("text_config")?, part("audio_config")?);
    let size = config.size_or("projection_dim", 512)?;
    let mut b = GraphBuilder::new();

    let activation = |config: &Config| {
        let name = config.str("projection_hidden_act").unwrap_or("relu");
        Activation::named("projection_hidden_act", name)
    };
    let sound_config = SoundConfig::read(&sound)?;
    let (vector, hidden) = sound_config.encode(&mut b, weights)?;
    let projection = Projection {
        name: "audio_projection",
        inputs: hidden,
        size,
        activation: activation(&sound)?,
    };
    let sounds = projection.apply(&mut b, weights, vector)?;

    let tower = roberta::tower(&text)?;
    let shape = vec![Dim::symbol("texts"), Dim::symbol("tokens")];
    let inputs = TowerInputs {
        ids: b.input("input_ids", DataType::I32, shape.clone())?,
        mask: b.input("attention_mask", DataType::I32, shape)?,
        segments: None,
    };
    let within = weights.within("text_model.");
    let states = tower.apply(&mut b, &within, inputs)?;
    let vector = tower.pool(&mut b, &within, states)?;
    let projection = Projection {
        name: "text_projection",
        inputs: tower.hidden,
        size,
        activation: activation(&text)?,
    };
    let texts = projection.apply(&mut b, weights, vector)?;

    b.output("audio_embeds", sounds)?;
    b.output("text_embeds", texts)?;
    let mut logits = |name: &str, scale: &str, rows: ValueId, columns: ValueId| {
        let columns = b.transpose(columns, &[1, 0])?;
        let products = b.matmul(rows, columns)?;
        let scale = weights.tensor(&mut b, scale, &[])?;
        let scale = b.unary(Unary::Exp, scale)?;
        let scaled = b.mul(products, scale)?;
        b.output(name, scaled)?;
        Ok::<(), ModelError>(())
    };
    logits("logits_per_audio", "logit_scale_a", sounds, texts)?;
    logits("logits_per_text", "logit_scale_t", texts, sounds)?;
    Ok(BuiltModel {
        architecture: "clap",
        graph: b.finish(),
        kind: ModelKind::Feedforward(Feedforward {
            defaults: vec![("attention_mask".into(), 1)],
            limits: vec![
                ("tokens".into(), tower.max_tokens()),
                ("frames".into(), sound_config.frames()),
            ],
            ..Feedforward::default()
        }),
    })
}

impl Projection<'_> {
    /// `[batch, inputs]` to vectors of length 1, `[batch, size]`.
    fn apply(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        let x = Linear {
            name: &format!("{}.linear1", self.name),
            inputs: self.inputs,
            outputs: self.size,
        }
        .apply(b, weights, x)?;
        let x = self.activation.apply(b, x)?;
        let x = Linear {
            name: &format!("{}.linear2", self.name),
            inputs: self.size,
            outputs: self.size,
        }
        .apply(b, weights, x)?;
        let length = b.reduce(ReduceKind::L2, x, &[1], true)?;
        Ok(b.binary(Binary::Div, x, length)?)
    }
}

impl SoundConfig {
    fn read(config: &Config) -> Result<SoundConfig, ModelError> {
        if config.bool_or("enable_fusion", false)? {
            let got = config.get("enable_fusion").cloned().unwrap_or_default();
            return Err(wrong("enable_fusion", &got, "false (fusion is not supported)").into());
        }
        let mels = config.size_up_to("num_mel_bins", MOST_SIDE)?;
        let side = config.size_up_to("spec_size", MOST_SIDE)?;
        let patch = config.size_up_to("patch_size", MOST_SIDE)?;
        let strides = config.sizes("patch_stride", MOST_SIDE)?;
        let window = config.size_up_to("window_size", MOST_WINDOW)?;
        let depths = config.sizes("depths", 64)?;
        let heads = config.sizes("num_attention_heads", MOST_CHANNELS)?;
        let channels = config.size_up_to("patch_embeds_hidden_size", MOST_CHANNELS)?;
        let refuse = |key: &str, wanted| -> ModelError {
            let got = config.get(key).cloned().unwrap_or_default();
            wrong(key, &got, wanted).into()
        };
        if !side.is_multiple_of(mels) {
            return Err(refuse("spec_size", "a multiple of num_mel_bins"));
        }
        if strides
            .iter()
            .any(|&stride| stride != strides[0] || stride > patch)
        {
            return Err(refuse("patch_stride", "one stride, up to patch_size"));
        }
        if heads.len() != depths.len() || depths.len() > 8 {
            return Err(refuse(
                "depths",
                "up to 8 stages, as num_attention_heads has",
            ));
        }
        let mut sizes = (0..depths.len()).map(|stage| channels << stage);
        if heads
            .iter()
            .any(|&heads| sizes.next().is_none_or(|size| size % heads != 0))
        {
            return Err(refuse(
                "num_attention_heads",
                "divisors of the stages' channels",
            ));
        }
        let sound = SoundConfig {
            mels,
            side,
            patch,
            stride: strides[0],
            channels,
            depths,
            heads,
            window,
            ratio: config.f32_or("mlp_ratio", 4.0)?,
            patch_norm: config.bool_or("enable_patch_layer_norm", true)?,
            activation: Activation::named(
                "hidden_act",
                config.str("hidden_act").unwrap_or("gelu"),
            )?,
            epsilon: config.f32_or("layer_norm_eps", 1e-5)?,
        };
        if !(0.0..=64.0).contains(&sound.ratio) {
            return Err(refuse("mlp_ratio", "a ratio up to 64"));
        }
        Ok(sound)
    }

    /// How often the spectrogram's time is folded.
    fn folds(&self) -> usize {
        self.side / self.mels
    }

    /// Most frames of a spectrogram; fewer are stretched to as many.
    fn frames(&self) -> usize {
        self.side * self.folds()
    }

    /// From `input_features [sounds, 1, frames, mels]` to a vector a sound, and how long that is.
    fn encode(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
    ) -> Result<(ValueId, usize), ModelError> {
        let shape = vec![
            Dim::symbol("sounds"),
            Dim::from(1),
            Dim::symbol("frames"),
            Dim::from(self.mels),
        ];
        let weights = &weights.within("audio_model.audio_encoder.");
        let features = b.input("input_features", DataType::F32, shape)?;
        let normal = self.batch_norm(b, weights, features)?;
        let stretched = stretch(b, normal, self.frames())?;
        let image = self.fold(b, stretched)?;
        let (mut x, mut grid) = self.patches(b, weights, image)?;
        let mut channels = self.channels;
        for (stage, (&depth, &heads)) in self.depths.iter().zip(&self.heads).enumerate() {
            for layer in 0..depth {
                let name = format!("layers.{stage}.blocks.{layer}");
                x = self
                    .layer(&name, grid, channels, heads, layer)?
                    .apply(b, weights, x)?;
            }
            if stage + 1 < self.depths.len() {
                let name = format!("layers.{stage}.downsample");
                (x, grid) = merge_patches(b, weights, &name, grid, channels, EPSILON, x)?;
                channels *= 2;
            }
        }
        let x = Norm::layer(channels, EPSILON).apply(b, weights, "norm", x)?;
        let mean = b.reduce(ReduceKind::Mean, x, &[1], false)?;
        Ok((mean, channels))
    }

    /// Each bin by the mean and the variance that it had in training.
    fn batch_norm(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        let mut vector = |part: &str| weights.vector(b, &format!("batch_norm.{part}"), self.mels);
        let (mean, variance) = (vector("running_mean")?, vector("running_var")?);
        let (scale, bias) = (vector("weight")?, vector("bias")?);
        let epsilon = b.number(BATCH_NORM_EPSILON)?;
        let variance = b.add_values(variance, epsilon)?;
        let deviation = b.unary(Unary::Sqrt, variance)?;
        let centred = b.binary(Binary::Sub, x, mean)?;
        let normal = b.binary(Binary::Div, centred, deviation)?;
        let scaled = b.mul(normal, scale)?;
        Ok(b.add_values(scaled, bias)?)
    }

    /// The spectrogram `[sounds, 1, folds · side, mels]` as a square `[sounds, 1, side, side]`: stretches of time
    /// one below the other, each with time across and bins down.
    fn fold(&self, b: &mut GraphBuilder, x: ValueId) -> Result<ValueId, ModelError> {
        let sounds = b.shape(x)[0].clone();
        let (folds, side) = (self.folds(), self.side);
        let sizes = [folds, side, self.mels].map(Dim::from);
        let x = b.reshape(x, [vec![sounds.clone()], sizes.to_vec()].concat())?;
        let x = b.transpose(x, &[0, 1, 3, 2])?;
        let sizes = [1, folds * self.mels, side].map(Dim::from);
        Ok(b.reshape(x, [vec![sounds], sizes.to_vec()].concat())?)
    }

    /// The square's patches as vectors, `[sounds, rows · columns, channels]`.
    fn patches(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        image: ValueId,
    ) -> Result<(ValueId, Grid), ModelError> {
        let name = "patch_embed.proj";
        let stored = [self.channels, 1, self.patch, self.patch];
        let filter = weights.filter(b, &format!("{name}.weight"), &stored)?;
        let bias = weights.optional_vector(b, &format!("{name}.bias"), self.channels)?;
        let padding = (self.patch - self.stride) / 2;
        let window = Window {
            padding: [padding; 4],
            strides: [self.stride; 2],
            ..Window::default()
        };
        let x = b.conv2d(image, filter, bias, window, 1)?;
        let sizes = b.shape(x).to_vec();
        let (Some(rows), Some(columns)) = (sizes[2].fixed(), sizes[3].fixed()) else {
            return Err(ConfigError::Value {
                key: "patch_size".into(),
                got: self.patch.to_string(),
                wanted: "patches that fit into spec_size",
            }
            .into());
        };
        let x = b.transpose(x, &[0, 2, 3, 1])?;
        let sizes = [rows * columns, self.channels].map(Dim::from);
        let mut x = b.reshape(x, [vec![sizes_of(b, x)], sizes.to_vec()].concat())?;
        if self.patch_norm {
            let norm = Norm::layer(self.channels, EPSILON);
            x = norm.apply(b, weights, "patch_embed.norm", x)?;
        }
        Ok((x, Grid { rows, columns }))
    }

    fn layer<'a>(
        &self,
        name: &'a str,
        grid: Grid,
        channels: usize,
        heads: usize,
        number: usize,
    ) -> Result<SwinLayer<'a>, ConfigError> {
        let least = grid.rows.min(grid.columns);
        if least < self.window {
            return Err(ConfigError::Value {
                key: "window_size".into(),
                got: self.window.to_string(),
                wanted: "a window no larger than the smallest grid of patches",
            });
        }
        // A grid of one window has nothing to shift.
        let shifted = number % 2 == 1 && least > self.window;
        Ok(SwinLayer {
            name,
            grid,
            channels,
            heads,
            window: self.window,
            shift: if shifted { self.window / 2 } else { 0 },
            epsilon: self.epsilon,
            feed_forward: FeedForward {
                gate: None,
                up: format!("{name}.intermediate.dense"),
                down: format!("{name}.output.dense"),
                hidden: channels,
                inner: (self.ratio * channels as f32) as usize,
                activation: self.activation,
            },
        })
    }
}

/// The batch of an image.
fn sizes_of(b: &GraphBuilder, x: ValueId) -> Dim {
    b.shape(x)[0].clone()
}

/// `x [sounds, 1, frames, mels]` with its frames stretched to `to`, first to first and last to last, by cubic
/// convolution (Keys 1981, a = −0.75). As many frames as `to` stay what they are.
///
/// Where a frame comes from depends on how many there are, which is a symbol; it is computed from a sum of as many
/// ones, and becomes a constant when the graph is specialized.
fn stretch(b: &mut GraphBuilder, x: ValueId, to: usize) -> Result<ValueId, ModelError> {
    let shape = b.shape(x).to_vec();
    let frames = shape[2].clone();
    let one = b.constant(Tensor::from_f32(&[1], &[1.0])?);
    let ones = b.expand(one, vec![frames])?;
    let count = b.reduce(ReduceKind::Sum, ones, &[0], true)?;
    let one = b.number(1.0)?;
    let last = b.binary(Binary::Sub, count, one)?;

    let number = |at: usize| at as f32;
    let steps: Vec<f32> = (0..to).map(number).collect();
    let steps = b.constant(Tensor::from_f32(&[to], &steps)?);
    let intervals = b.number(number(to.max(2) - 1))?;
    let scale = b.binary(Binary::Div, last, intervals)?;
    let from = b.mul(steps, scale)?;
    let whole = b.unary(Unary::Floor, from)?;
    let part = b.binary(Binary::Sub, from, whole)?;

    let mut sum = None;
    for tap in -1..=2i32 {
        let offset = b.number(tap as f32)?;
        let at = b.add_values(whole, offset)?;
        let zero = b.number(0.0)?;
        let at = b.binary(Binary::Max, at, zero)?;
        let at = b.binary(Binary::Min, at, last)?;
        let at = b.cast(at, DataType::I32)?;
        let taken = b.gather(x, at, 2)?;
        let distance = b.binary(Binary::Sub, part, offset)?;
        let distance = b.unary(Unary::Abs, distance)?;
        let weight = cubic(b, distance, tap == 0 || tap == 1)?;
        let weight = b.reshape(weight, vec![Dim::from(to), Dim::from(1)])?;
        let weighted = b.mul(taken, weight)?;
        sum = Some(match sum {
            None => weighted,
            Some(sum) => b.add_values(sum, weighted)?,
        });
    }
    let shape = [&shape[..2], &[Dim::from(to), shape[3].clone()]].concat();
    match sum {
        Some(sum) => Ok(b.reshape(sum, shape)?),
        None => Ok(x),
    }
}

/// The weight of a frame at `distance`, which is at most 1 where `near` and from 1 to 2 otherwise.
fn cubic(b: &mut GraphBuilder, distance: ValueId, near: bool) -> Result<ValueId, ModelError> {
    const A: f32 = -0.75;
    // Highest power first.
    let factors = match near {
        true => [A + 2.0, -(A + 3.0), 0.0, 1.0],
        false => [A, -5.0 * A, 8.0 * A, -4.0 * A],
    };
    let mut sum = b.number(factors[0])?;
    for factor in &factors[1..] {
        let product = b.mul(sum, distance)?;
        let factor = b.number(*factor)?;
        sum = b.add_values(product, factor)?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::reference::evaluate_graph;
    use crate::graph::Bindings;

    /// What `x [1, 1, frames, 1]` is as `to` frames.
    fn stretched(frames: &[f32], to: usize) -> Vec<f64> {
        let mut b = GraphBuilder::new();
        let shape = vec![1.into(), 1.into(), Dim::symbol("frames"), 1.into()];
        let x = b.input("x", DataType::F32, shape).unwrap();
        let y = stretch(&mut b, x, to).unwrap();
        b.output("y", y).unwrap();
        let sizes: Bindings = [("frames".to_owned(), frames.len())].into();
        let graph = b.finish().specialize(&sizes).unwrap();
        let x = Tensor::from_f32(&[1, 1, frames.len(), 1], frames).unwrap();
        let given = [("x".to_owned(), (&x).into())].into();
        evaluate_graph(&graph, &given).unwrap().outputs["y"].to_f64_vec()
    }

    /// The numbers of ONNX's own case `resize_upsample_scales_cubic_align_corners`, its first column.
    #[test]
    fn frames_are_stretched_by_cubic_convolution() {
        let expected = [
            1.0,
            2.364_431_49,
            4.201_166_18,
            6.317_784_26,
            7.682_215_74,
            9.798_833_82,
            11.635_568_51,
            13.0,
        ];
        let got = stretched(&[1.0, 5.0, 9.0, 13.0], 8);
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-5, "{got} {expected}");
        }
        // As many as wanted stay what they are.
        assert_eq!(stretched(&[3.0, -1.0, 2.0], 3), [3.0, -1.0, 2.0]);
        assert_eq!(stretched(&[4.0], 3), [4.0; 3]);
    }
}

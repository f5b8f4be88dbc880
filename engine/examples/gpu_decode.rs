//! Times prefill and decoding of a GGUF model on the GPU:
//!
//!     cargo run --release --example gpu_decode -- MODEL.gguf [TOKENS] [barrier-free|workgroup|subgroup]
//!
//! Beside the speed stands the time that all of this process's threads took (Linux only): a software adapter's
//! speed on a busy machine says little. Another Vulkan driver is chosen by the loader's own variable, for instance
//! `VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json`.

use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Instant;

use fewbit_engine::backend::gpu::{Gpu, GpuDevice, GpuOptions, Path};
use fewbit_engine::model::BuildOptions;
use fewbit_engine::source::{ByteSource, MemorySource};
use fewbit_engine::task::Model;
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_engine::task::generate::{Event, GenerateOptions};
use fewbit_engine::task::sampling::SamplingParams;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("which GGUF file?")?;
    let tokens: usize = arguments.next().map_or(Ok(32), |n| n.parse())?;
    let path = match arguments.next().as_deref() {
        None => None,
        Some("barrier-free") => Some(Path::BarrierFree),
        Some("workgroup") => Some(Path::Workgroup),
        Some("subgroup") => Some(Path::Subgroup),
        Some(other) => return Err(format!("no path named {other}").into()),
    };
    let options = GpuOptions {
        path,
        ..GpuOptions::default()
    };
    pollster::block_on(time(&file, tokens, options))
}

/// Processor time of all threads so far, in seconds; NaN where the platform does not tell by a file.
fn cpu_seconds() -> f64 {
    let read = || {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let user: f64 = fields.nth(11)?.parse().ok()?;
        let system: f64 = fields.next()?.parse().ok()?;
        Some((user + system) / 100.0)
    };
    read().unwrap_or(f64::NAN)
}

async fn time(file: &str, tokens: usize, options: GpuOptions) -> Result<(), Failure> {
    let gpu = Gpu::open(&options).await?;
    println!("{:#?}\npath {:?}", gpu.adapter(), gpu.path());
    drop(gpu);
    let start = Instant::now();
    let source: Rc<dyn ByteSource> = Rc::new(MemorySource::new("model.gguf", std::fs::read(file)?));
    let files = ModelFiles::new(vec![source]);
    let mut go_on = |_| ControlFlow::Continue(());
    let device = Box::new(GpuDevice::new(options));
    let mut model = Model::load(&files, device, BuildOptions::default(), &mut go_on).await?;
    println!("loaded in {:.2?}, {:?}", start.elapsed(), model.memory());
    let greedy = GenerateOptions {
        max_tokens: tokens,
        sampling: SamplingParams {
            temperature: 0.0,
            ..SamplingParams::default()
        },
        ignore_eos: true,
        ..GenerateOptions::default()
    };
    let text = "The quick brown fox jumps over the lazy dog and runs far away. ".repeat(12);
    for prompt in ["The capital of France is", &text, &text[3..]] {
        let ids = model.encode(prompt)?;
        let count = ids.len();
        let mut generation = model.generate(ids, &greedy)?;
        let start = Instant::now();
        let mut first = None;
        let mut out = String::new();
        let mut times = Vec::new();
        let mut last = start;
        let (begun, mut prefilled) = (cpu_seconds(), f64::NAN);
        loop {
            match model.step(&mut generation).await? {
                Event::Prefill { .. } => {}
                Event::Token { text, .. } => {
                    first.get_or_insert_with(|| start.elapsed());
                    // The step after the first compiles the plan of one token.
                    if times.len() < 2 {
                        prefilled = cpu_seconds();
                    }
                    times.push(last.elapsed().as_secs_f64());
                    last = Instant::now();
                    out.push_str(&text);
                }
                Event::Finished { .. } => break,
            }
        }
        let first = first.ok_or("no token")?.as_secs_f64();
        let decoded = times.len().saturating_sub(2).max(1) as f64;
        let cpu = (cpu_seconds() - prefilled) / decoded;
        let mut steady = times.split_off(times.len().min(2));
        steady.sort_by(f64::total_cmp);
        let median = steady.get(steady.len() / 2).copied().unwrap_or(f64::NAN);
        println!(
            "{count} tokens in {first:.2} s ({:.1} tokens/s); decoding {:.2} tokens/s (median); \
             CPU seconds: {:.2} until the second token, {cpu:.3} a token after",
            count as f64 / first,
            1.0 / median,
            prefilled - begun
        );
        println!("{out:?}");
    }
    println!("{:?}", model.memory());
    Ok(())
}

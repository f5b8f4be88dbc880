//! What one repeat does. Every repeat has another beginning, so that no cached prefix helps.

use std::time::Instant;

use super::samples::Samples;
use crate::job::{EmbedJob, GenerateJob, MemoryFacts, Prompt, RunError, Sampling, ScoreJob};
use crate::runner::Runner;
use crate::speech::TranscribeJob;
use crate::verify::known::RECORDING;

/// Jane Austen, "Sense and Sensibility" (1811), the first sentences; frozen, as a changed text would change the numbers.
const TEXT: &str = "The family of Dashwood had long been settled in Sussex. Their estate was large, and their residence \
was at Norland Park, in the centre of their property, where, for many generations, they had lived in so respectable a \
manner as to engage the general good opinion of their surrounding acquaintance. The late owner of this estate was a \
single man, who lived to a very advanced age, and who for many years of his life, had a constant companion and \
housekeeper in his sister. But her death, which happened ten years before his own, produced a great alteration in his \
home; for to supply her loss, he invited and received into his house the family of his nephew Mr. Henry Dashwood, the \
legal inheritor of the Norland estate, and the person to whom he intended to bequeath it.";

/// What a repeat computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// So many prompts are read together, and so many tokens are decoded after each.
    Generate {
        prompt: Length,
        decode: usize,
        batch: usize,
    },
    /// So many texts together.
    Embed { text: Length, batch: usize },
    /// The recording of the references.
    Transcribe,
}

/// How long a prompt or text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Length {
    /// Words of the text above, about 1.3 tokens each.
    Words(usize),
    /// Exactly so many tokens.
    Tokens(usize),
    /// These ids; the first of them is another in each repeat.
    Ids(Vec<u32>),
}

impl Work {
    /// The same work with lengths in tokens turned into ids or words, for which the loaded model is asked.
    ///
    /// # Errors
    /// The target's, or a model that cannot take so many tokens.
    pub(super) async fn fitted(&self, runner: &mut dyn Runner) -> Result<Work, RunError> {
        match self {
            Work::Generate {
                prompt: Length::Tokens(tokens),
                decode,
                batch,
            } => {
                let score = ScoreJob {
                    // A word has a token at least; scoring gives the ids without cutting them.
                    text: Some(text(1, *tokens)),
                    ids: None,
                };
                let mut ids = runner.score(&score).await?.ids;
                ids.truncate(*tokens);
                Ok(Work::Generate {
                    prompt: Length::Ids(ids),
                    decode: *decode,
                    batch: *batch,
                })
            }
            Work::Embed {
                text: Length::Tokens(tokens),
                batch,
            } => Ok(Work::Embed {
                text: Length::Words(words(runner, *tokens).await?),
                batch: *batch,
            }),
            other => Ok(other.clone()),
        }
    }

    /// One repeat. `number` makes it differ from the others.
    pub(super) async fn repeat(
        &self,
        runner: &mut dyn Runner,
        number: u32,
        samples: &mut Samples,
        memory: &mut MemoryFacts,
    ) -> Result<(), RunError> {
        let began = Instant::now();
        let outside = |began: Instant| began.elapsed().as_secs_f64() * 1e3;
        match self {
            Work::Generate {
                prompt,
                decode,
                batch,
            } => {
                let mut prompts = (0..*batch).map(|row| {
                    let number = number * *batch as u32 + row as u32;
                    match prompt {
                        Length::Words(words) | Length::Tokens(words) => {
                            Prompt::Text(text(number, *words))
                        }
                        Length::Ids(ids) => Prompt::Ids(turned(ids, number)),
                    }
                });
                let job = GenerateJob {
                    prompt: prompts.next().unwrap_or(Prompt::Ids(Vec::new())),
                    beside: prompts.collect(),
                    source: Default::default(),
                    max_tokens: *decode,
                    sampling: Sampling::greedy(),
                    stop: vec![],
                    ignore_eos: true,
                    instruct: None,
                };
                let result = runner.generate(&job, &|_| {}).await?;
                samples.generated(&result);
                *memory = result.memory;
            }
            Work::Embed {
                text: length,
                batch,
            } => {
                let words = match length {
                    Length::Words(words) | Length::Tokens(words) => *words,
                    Length::Ids(ids) => ids.len(),
                };
                let each = (0..*batch).map(|i| text(number * 100 + i as u32, words));
                let job = EmbedJob {
                    texts: each.collect(),
                    ..EmbedJob::default()
                };
                let result = runner.embed(&job).await?;
                samples.embedded(&result, outside(began));
                *memory = result.memory;
            }
            Work::Transcribe => {
                let job = TranscribeJob {
                    name: "jfk.flac".into(),
                    data: RECORDING.to_vec(),
                    ..TranscribeJob::default()
                };
                let result = runner.transcribe(&job, &|_| {}).await?;
                samples.transcribed(&result, outside(began));
                *memory = result.memory;
            }
        }
        Ok(())
    }
}

/// So many words that the model makes `tokens` of them, or the most below.
async fn words(runner: &mut dyn Runner, tokens: usize) -> Result<usize, RunError> {
    let mut below = 0;
    let mut above = tokens + 1;
    while above - below > 1 {
        let middle = (below + above) / 2;
        let job = EmbedJob {
            texts: vec![text(100, middle)],
            ..EmbedJob::default()
        };
        let result = runner.embed(&job).await?;
        let count = result.embeddings.first().map_or(0, |e| e.input_ids.len());
        if count > tokens {
            above = middle;
        } else {
            below = middle;
            if count == tokens {
                break;
            }
        }
    }
    Ok(below)
}

/// Ids that begin otherwise in each repeat and are the same besides.
fn turned(ids: &[u32], number: u32) -> Vec<u32> {
    let mut turned = ids.to_vec();
    if turned.len() > 1 {
        let other = 1 + number as usize % (turned.len() - 1);
        turned.swap(0, other);
    }
    turned
}

/// Repeats differ from their first token on.
fn text(number: u32, words: usize) -> String {
    let words: Vec<&str> = TEXT.split(' ').cycle().take(words).collect();
    format!("{number}. {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_share_no_prefix() {
        let (a, b) = (text(1, 12), text(2, 12));
        assert_ne!(a.split(' ').next(), b.split(' ').next());
        assert_eq!(a.split(' ').count(), 13);
        assert_eq!(text(1, 400).split(' ').count(), 401);
        let ids = [5, 6, 7, 8];
        assert_ne!(turned(&ids, 0)[0], turned(&ids, 1)[0]);
        assert_eq!(turned(&ids, 1).len(), 4);
        assert_eq!(turned(&[5], 3), [5]);
    }
}

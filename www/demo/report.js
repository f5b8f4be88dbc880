// What the page does, for programs that drive it: `window.fewbitDemo`, plain data.
//
//   state    idle, loading, ready, generating, done (an answer is complete), error
//   stage    what is done now, in words
//   error    { code, message } of the last error
//   text     the answer so far, of `tokens` tokens
//   info     the package's `model.info`
//   timings  the package's timings of the last complete answer

globalThis.fewbitDemo = { state: "loading", stage: null, error: null, text: "", tokens: 0, info: null, timings: null };

export function report(changes) {
  Object.assign(globalThis.fewbitDemo, changes);
}

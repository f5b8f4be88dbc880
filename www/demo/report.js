// What the page does, for programs that drive it: `window.fewbitDemo`, plain data.
//
//   state    idle, loading, ready, generating or working, done (an answer is complete), error
//   stage    what is done now, in words
//   error    { code, message } of the last error
//   notice   why the loaded model cannot do what the page is for
//   text     the answer so far, of `tokens` tokens
//   result   what a task page's last run gave
//   info     the package's `model.info`
//   timings  the package's timings of the last complete answer

globalThis.fewbitDemo = { state: "loading", stage: null, error: null, notice: null, text: "", tokens: 0, result: null, info: null, timings: null };

export function report(changes) {
  Object.assign(globalThis.fewbitDemo, changes);
}

import { load } from "fewbit";

window.run = async ({ source, prompt }) => {
  const model = await load(source, { backend: "wasm" });
  const { ids } = await model.generate(prompt, { maxTokens: 8, temperature: 0, ignoreEos: true }).result;
  model.dispose();
  return ids;
};

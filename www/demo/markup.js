// The little Markdown that chat models write: fenced code, code, bold. Everything else stays the text it is, and nothing becomes
// markup that is not made here.

import { make } from "./dom.js";

/** Shows `text` in `element`. */
export function show(element, text) {
  const nodes = [];
  text.split(/^```/m).forEach((part, at) => {
    // Between fences, after the line that may name a language.
    if (at % 2 === 1) nodes.push(make("pre", "", make("code", "", part.replace(/^[^\n]*\n?/, "").replace(/\n$/, ""))));
    else nodes.push(...inline(at > 0 ? part.replace(/^\n/, "") : part));
  });
  element.replaceChildren(...nodes);
}

function inline(text) {
  return text.split(/(\*\*[^*\n]+\*\*|`[^`\n]+`)/).flatMap((part, at) => {
    if (part === "") return [];
    if (at % 2 === 0) return [part];
    return [part.startsWith("`") ? make("code", "", part.slice(1, -1)) : make("strong", "", part.slice(2, -2))];
  });
}

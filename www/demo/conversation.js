// The messages, on the page and as the model gets them.

import { byId, make } from "./dom.js";
import { count, duration, rate } from "./format.js";
import { show } from "./markup.js";

export class Conversation {
  #messages = [];
  #list = byId("conversation");

  /** A user's message. */
  ask(text) {
    byId("welcome").hidden = true;
    this.#messages.push({ role: "user", content: text });
    this.#add("user", "You").text.textContent = text;
  }

  /** What the model is to go on from. */
  history() {
    return this.#messages.filter(({ content }) => content !== "");
  }

  /** An answer that is being made. */
  begin() {
    const message = { role: "assistant", content: "" };
    this.#messages.push(message);
    const { element, text } = this.#add("assistant", "Answer");
    return new Reply(this.#list, element, text, message);
  }

  /** Whether the last question has no answer yet. */
  isWaiting() {
    return this.#messages.at(-1)?.role === "user";
  }

  /** Takes what became of the last question back, to answer it anew. */
  takeBackAnswer() {
    while (this.#messages.length > 0 && !this.isWaiting()) this.#messages.pop();
    for (const element of [...this.#list.querySelectorAll(".message")].reverse()) {
      if (element.classList.contains("user")) return;
      element.remove();
    }
  }

  clear() {
    this.#messages = [];
    for (const element of this.#list.querySelectorAll(".message")) element.remove();
    byId("welcome").hidden = false;
  }

  #add(role, name) {
    const text = make("div", "text");
    const element = make("article", `message ${role}`, text);
    element.setAttribute("aria-label", name);
    this.#list.append(element);
    this.#list.scrollTop = this.#list.scrollHeight;
    return { element, text };
  }
}

class Reply {
  #list;
  #element;
  #text;
  #message;
  #began = performance.now();
  #firstAt = null;
  #tokens = 0;
  #frame = null;

  constructor(list, element, text, message) {
    this.#list = list;
    this.#element = element;
    this.#text = text;
    this.#message = message;
    element.classList.add("streaming");
    // Read out when it is complete, not word by word.
    element.setAttribute("aria-busy", "true");
  }

  push(piece) {
    this.#firstAt ??= performance.now();
    this.#tokens += 1;
    this.#message.content += piece;
    // At most once a picture, however fast tokens come.
    this.#frame ??= requestAnimationFrame(() => this.#show());
  }

  #show() {
    if (this.#frame !== null) cancelAnimationFrame(this.#frame);
    this.#frame = null;
    const follow = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 60;
    show(this.#text, this.#message.content);
    if (follow) this.#list.scrollTop = this.#list.scrollHeight;
  }

  /** What there is so far. */
  sofar() {
    return { text: this.#message.content, tokens: this.#tokens };
  }

  /** The speed so far, in words. */
  speed() {
    const seconds = (performance.now() - this.#firstAt) / 1000;
    const perSecond = this.#tokens > 1 && seconds > 0 ? (this.#tokens - 1) / seconds : null;
    const first = `first token after ${duration(this.#firstAt - this.#began)}`;
    const so = count(this.#tokens, "token", "tokens");
    return perSecond === null ? `${so} · ${first}` : `${so} · ${rate(perSecond)} tokens/s · ${first}`;
  }

  finish(result) {
    this.#end();
    const { usage, timings, finishReason } = result;
    const numbers = [
      ["", rate(timings.decodeTokensPerSecond), "tokens/s"],
      ["first token after", duration(timings.timeToFirstToken), ""],
      ["", String(usage.completionTokens), usage.completionTokens === 1 ? "token" : "tokens"],
      ["prompt", String(usage.promptTokens), usage.cachedTokens > 0 ? `(${usage.cachedTokens} reused)` : ""],
    ];
    if (timings.prefillTokensPerSecond > 0) numbers.push(["read at", rate(timings.prefillTokensPerSecond), "tokens/s"]);
    if (finishReason === "length") numbers.push(["", "", "stopped at the most tokens"]);
    this.#numbers(numbers);
  }

  /** The answer ended before its end. */
  stop(error) {
    this.#end();
    const stopped = error?.code === "aborted" || error?.name === "AbortError";
    if (this.#tokens === 0 && !stopped) {
      this.#element.remove();
      return;
    }
    const numbers = [["", "", stopped ? "stopped" : "broke off"]];
    if (this.#firstAt !== null) {
      const seconds = (performance.now() - this.#firstAt) / 1000;
      numbers.push(["", String(this.#tokens), this.#tokens === 1 ? "token" : "tokens"]);
      if (this.#tokens > 1) numbers.push(["", rate((this.#tokens - 1) / seconds), "tokens/s"]);
      numbers.push(["first token after", duration(this.#firstAt - this.#began), ""]);
    }
    this.#numbers(numbers);
  }

  #end() {
    this.#show();
    this.#element.classList.remove("streaming");
    this.#element.setAttribute("aria-busy", "false");
  }

  #numbers(list) {
    const line = make("p", "numbers");
    for (const [before, value, after] of list) {
      const item = make("span", "");
      if (before) item.append(`${before} `);
      if (value) item.append(make("b", "", value));
      if (after) item.append(value ? ` ${after}` : after);
      line.append(item);
    }
    this.#element.append(line);
    this.#list.scrollTop = this.#list.scrollHeight;
  }
}

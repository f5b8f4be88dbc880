// What every page of the demo has around its own content: the header with the pages, the choice of a model, what it runs on, what
// is stored, how far loading is, what went wrong. A page's HTML has `#panel`, `#shell-status` and, if it runs a task, `#shell-run`.

import { byId, make } from "./dom.js";
import { PAGES } from "./pages.js";
import { watchTheme } from "./theme.js";

/** Builds all of it for the page of that name; what follows finds the parts by their ids. */
export function buildShell(name) {
  const main = byId("main");
  document.body.prepend(make("a", "skip", "Skip to the content"), header(name));
  document.querySelector(".skip").href = "#main";
  main.tabIndex = -1;
  byId("panel").prepend(...parts(CHOICE));
  byId("panel").append(...parts(STORED));
  byId("shell-status").replaceWith(...parts(STATUS));
  document.getElementById("shell-run")?.replaceWith(runRow(byId("shell-run").dataset));
  byId("panel-toggle").addEventListener("click", () => openPanel(!byId("panel").classList.contains("open")));
  watchTheme(byId("theme"));
  // On a narrow screen the pages scroll sideways; the one at hand is in sight.
  const here = document.querySelector('.pages [aria-current="page"]');
  const pages = document.querySelector(".pages");
  pages.scrollLeft = here.offsetLeft - pages.offsetLeft - (pages.clientWidth - here.offsetWidth) / 2;
}

/** Shows the settings on a narrow screen, or hides them. */
export function openPanel(open) {
  byId("panel").classList.toggle("open", open);
  byId("panel-toggle").setAttribute("aria-expanded", String(open));
}

function header(name) {
  const links = PAGES.map((page) => {
    const link = make("a", "", page.title);
    link.href = page.href;
    if (page.name === name) link.setAttribute("aria-current", "page");
    return make("li", "", link);
  });
  const nav = make("nav", "pages", make("ul", "", ...links));
  nav.setAttribute("aria-label", "Pages");
  const [top] = parts(TOP);
  top.querySelector(".brand").after(nav);
  return top;
}

function runRow({ label }) {
  const [row] = parts(RUN);
  row.querySelector("#run").textContent = label;
  return row;
}

/** The elements of constant markup of this file. */
function parts(markup) {
  const template = document.createElement("template");
  template.innerHTML = markup;
  return [...template.content.children];
}

const TOP = `
  <header class="top">
    <a class="brand" href="/" aria-label="fewbit, start page">
      <svg viewBox="0 0 32 32" aria-hidden="true">
        <rect class="logo-a" x="3" y="3" width="12" height="12" rx="3" />
        <rect class="logo-b" x="17" y="3" width="12" height="12" rx="3" />
        <rect class="logo-b" x="3" y="17" width="12" height="12" rx="3" />
        <rect class="logo-c" x="17" y="17" width="12" height="12" rx="3" />
      </svg>
      <span>fewbit</span>
    </a>
    <div class="top-actions">
      <button type="button" id="new-chat" class="quiet" hidden>New chat</button>
      <button type="button" id="panel-toggle" class="quiet only-narrow" aria-expanded="false" aria-controls="panel"><span class="hidden">Model and settings: </span><span id="model-line"></span></button>
      <button type="button" id="theme" class="quiet" aria-label="Colours: as the system has it">Auto</button>
    </div>
  </header>`;

const CHOICE = `
  <form id="load-form" class="card" aria-labelledby="model-heading">
    <h2 id="model-heading">Model</h2>
    <label for="model">Which model</label>
    <select id="model" name="model"></select>
    <input id="file" type="file" accept=".gguf" class="hidden" tabindex="-1" aria-label="A GGUF file on this computer" />
    <input id="folder" type="file" multiple class="hidden" tabindex="-1" aria-label="A model's folder on this computer" />
    <p id="model-note" class="note"></p>

    <label for="backend">Computed by</label>
    <select id="backend" name="backend">
      <option value="auto">Automatic</option>
      <option value="webgpu">WebGPU</option>
      <option value="wasm">WebAssembly</option>
    </select>
    <p class="note">Automatic takes WebGPU where the graphics adapter is hardware, else WebAssembly.</p>

    <button type="submit" id="load" class="primary">Load model</button>
  </form>
  <section id="runs-on" class="card" aria-labelledby="runs-on-heading" hidden>
    <h2 id="runs-on-heading">Runs on</h2>
    <p class="backend-line"><strong id="backend-name"></strong> <span id="adapter-badge" class="badge" hidden></span></p>
    <p id="backend-reason" class="note"></p>
    <dl id="facts" class="facts"></dl>
  </section>`;

const STORED = `
  <details class="card" id="storage">
    <summary><h2>Stored in this browser</h2></summary>
    <p id="storage-usage" class="note">Not read yet.</p>
    <ul id="storage-list" class="files"></ul>
    <div class="row">
      <button type="button" id="storage-persist" class="quiet">Keep it</button>
      <button type="button" id="storage-clear" class="quiet danger" disabled>Remove all</button>
    </div>
    <p id="storage-status" class="note" role="status"></p>
  </details>`;

const STATUS = `
  <section id="progress" class="progress card" aria-labelledby="progress-title" hidden>
    <div class="progress-head">
      <h2 id="progress-title">Loading</h2>
      <button type="button" id="cancel" class="quiet">Cancel</button>
    </div>
    <ol class="steps" id="steps">
      <li data-phase="download">Download</li>
      <li data-phase="verify">Check</li>
      <li data-phase="upload">Give to the back end</li>
      <li data-phase="compile">Make ready</li>
    </ol>
    <progress id="bar" max="1" value="0" aria-label="Loading"></progress>
    <p class="progress-line"><span id="progress-amount"></span><span id="progress-rate"></span></p>
    <p id="progress-detail" class="note"></p>
  </section>
  <section id="notice" class="notice card" role="alert" hidden>
    <h2 id="notice-title"></h2>
    <p id="notice-text"></p>
    <ul id="notice-links" class="links"></ul>
  </section>
  <section id="problem" class="problem card" role="alert" hidden>
    <h2 id="problem-title"></h2>
    <p id="problem-message"></p>
    <p id="problem-advice" class="note"></p>
    <p class="row">
      <button type="button" id="problem-retry" class="quiet">Try again</button>
      <button type="button" id="problem-close" class="quiet">Close</button>
      <code id="problem-code"></code>
    </p>
  </section>
  <p id="status" class="hidden" role="status"></p>`;

const RUN = `
  <div class="run-row">
    <button type="submit" id="run" class="primary"></button>
    <button type="button" id="stop" class="stop" hidden>Stop</button>
    <div class="run-text">
      <p id="run-text" class="note"></p>
      <progress id="run-bar" max="1" aria-label="How far" hidden></progress>
    </div>
  </div>`;

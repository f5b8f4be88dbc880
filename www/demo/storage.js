// The files that this browser keeps, and removing them.

import { byId, make } from "./dom.js";
import { bytes, count } from "./format.js";

/** Shows the package's cache; `getCache` gives it once the package is there. */
export function watchStorage(getCache, failed) {
  const list = byId("storage-list");
  const status = byId("storage-status");

  async function refresh() {
    const cache = getCache();
    if (!cache) return;
    try {
      const [entries, estimate] = await Promise.all([cache.list(), cache.estimate()]);
      const total = entries.reduce((sum, entry) => sum + entry.bytes, 0);
      const parts = [entries.length === 0 ? "Nothing is stored." : `${count(entries.length, "file", "files")}, ${bytes(total)}.`];
      if (estimate) parts.push(`This site may use ${bytes(estimate.quota)}.`);
      byId("storage-usage").textContent = parts.join(" ");
      byId("storage-clear").disabled = entries.length === 0;
      list.replaceChildren(...entries.map(row));
    } catch (error) {
      failed(error);
    }
  }

  function row(entry) {
    const label = entry.model ? `${entry.model} / ${entry.file}` : entry.file;
    const name = make("span", "name", entry.complete ? label : `${label} (unfinished)`);
    name.title = entry.url;
    const remove = make("button", "quiet", "Remove");
    remove.type = "button";
    remove.setAttribute("aria-label", `Remove ${label}`);
    remove.addEventListener("click", () => change(remove, (cache) => cache.delete(entry.url)));
    return make("li", "", name, make("span", "size", bytes(entry.bytes)), remove);
  }

  async function change(button, work) {
    const cache = getCache();
    if (!cache) return;
    button.disabled = true;
    try {
      const removed = await work(cache);
      status.textContent = `${count(removed, "file was", "files were")} removed.`;
    } catch (error) {
      failed(error);
    }
    await refresh();
  }

  byId("storage-clear").addEventListener("click", (event) => change(event.currentTarget, (cache) => cache.clear()));
  byId("storage-persist").addEventListener("click", async () => {
    const kept = await getCache()?.persist();
    status.textContent = kept ? "The browser keeps these files until you remove them." : "The browser may remove these files when space is short.";
  });
  byId("storage").addEventListener("toggle", refresh);
  return { refresh };
}

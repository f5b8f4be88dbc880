// Compiles the package into ../dist/web, where the wasm variants are built beside it and `npm pack` is run.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "dist", "web");
mkdirSync(out, { recursive: true });
// What an earlier build left of modules that are gone; `wasm/` is not ours.
for (const folder of ["cache", "input", "webnn", "worker"]) rmSync(join(out, folder), { recursive: true, force: true });
const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
execFileSync(process.execPath, [tsc, "-p", join(here, "tsconfig.json")], { stdio: "inherit" });
// Editors read the comments in the types; a page need not download them again in every module. Only whole lines go: what stands
// inside a line (`/* @vite-ignore */`) is meant for bundlers.
for (const file of readdirSync(out, { recursive: true })) {
  if (!file.endsWith(".js") || file.startsWith("wasm")) continue;
  const path = join(out, file);
  writeFileSync(path, readFileSync(path, "utf8").replace(/^[ \t]*(?:\/\*\*[^]*?\*\/|\/\/.*)\n/gm, ""));
}
copyFileSync(join(here, "package.json"), join(out, "package.json"));
copyFileSync(join(here, "README.md"), join(out, "README.md"));
copyFileSync(join(here, "..", "LICENSE"), join(out, "LICENSE"));

/**
 * The manifest of models that are known by name: a fewbit host serves it, and this package carries a copy for pages without one.
 */
import { FewbitError } from "./error.js";

/** A model that is known by name. */
export interface ManifestModel {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly title: string;
  readonly task: string;
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly sha256: string }[];
  /** Bases of URLs, each ending in `/`, that a browser can load the files from. */
  readonly bases: readonly string[];
}

/**
 * Reads a manifest; what it does not understand of a model (a source that only a host can use, say) is left out.
 *
 * @throws {FewbitError} `bad_model`, naming `where`
 */
export function parseManifest(json: unknown, where: string): ManifestModel[] {
  const wrong = (what: string): never => {
    throw new FewbitError("bad_model", `${where}: ${what}`, { details: { url: where } });
  };
  const models = isObject(json) ? json["models"] : undefined;
  if (!Array.isArray(models)) return wrong("it has no list `models`");
  return models.map((model: unknown, i) => {
    if (!isObject(model)) return wrong(`models[${i}] is no object`);
    const { name, aliases, title, task, files, sources } = model;
    if (typeof name !== "string" || name === "") return wrong(`models[${i}] has no name`);
    if (!Array.isArray(files) || files.length === 0) return wrong(`${name} has no files`);
    return {
      name,
      aliases: Array.isArray(aliases) ? aliases.filter((alias) => typeof alias === "string") : [],
      title: typeof title === "string" ? title : name,
      task: typeof task === "string" ? task : "",
      files: files.map((file: unknown) => {
        if (!isObject(file)) return wrong(`${name}: a file is no object`);
        const { name: fileName, bytes, sha256 } = file;
        if (typeof fileName !== "string" || !isRelative(fileName)) return wrong(`${name}: bad file name ${JSON.stringify(fileName)}`);
        if (typeof bytes !== "number" || !Number.isSafeInteger(bytes) || bytes < 0) return wrong(`${name}: ${fileName} has no size`);
        if (typeof sha256 !== "string" || !/^[0-9a-f]{64}$/.test(sha256)) return wrong(`${name}: ${fileName} has no sha256`);
        return { name: fileName, bytes, sha256 };
      }),
      bases: Array.isArray(sources) ? sources.flatMap(baseOf) : [],
    };
  });
}

/** The model of that name or alias. */
export function findModel(models: readonly ManifestModel[], name: string): ManifestModel | undefined {
  return models.find((model) => model.name === name || model.aliases.includes(name));
}

function baseOf(source: unknown): string[] {
  if (!isObject(source)) return [];
  const { kind, repository, revision, base, files } = source;
  // What gives only some of a model's files is no base of it.
  if (files !== undefined) return [];
  if (kind === "huggingface" && typeof repository === "string" && typeof revision === "string") {
    const path = repository.split("/").map(encodeURIComponent).join("/");
    return [`https://huggingface.co/${path}/resolve/${encodeURIComponent(revision)}/`];
  }
  return kind === "http" && typeof base === "string" && base.endsWith("/") ? [base] : [];
}

/** Whether a file's name stays below the folder it is joined to. */
export function isRelative(name: string): boolean {
  return name.split("/").every((part) => /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/.test(part));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The errors of this package: one class, told apart by `code`.
 */

/**
 * What went wrong, as a word to branch on.
 *
 * - `aborted`: an `AbortSignal` fired (the error's `name` is then `AbortError`)
 * - `network`: a download failed or broke off and could not be resumed
 * - `http`: a server answered with an error status
 * - `not_found`: no such model, or a file of it is nowhere to be had
 * - `checksum`: a file's sha256 is not the one it should have
 * - `quota`: the browser grants too little storage
 * - `cache`: the browser's storage failed in another way
 * - `bad_argument`: an argument that cannot be used
 * - `bad_model`: a model file that is damaged or not understood
 * - `unsupported`: a model or browser without something that is needed
 * - `unavailable`: a back end that is not there (no adapter, say)
 * - `context_full`: prompt and answer do not fit the model's context
 * - `template`: the model's chat template failed or ran too long
 * - `out_of_memory`: memory ran out, of the page or the device
 * - `device_lost`: the GPU was lost more often than is retried
 * - `disposed`: the model was disposed of
 * - `worker`: the worker could not start or died
 * - `internal`: a fault in fewbit
 */
export type FewbitErrorCode =
  | "aborted"
  | "network"
  | "http"
  | "not_found"
  | "checksum"
  | "quota"
  | "cache"
  | "bad_argument"
  | "bad_model"
  | "unsupported"
  | "unavailable"
  | "context_full"
  | "template"
  | "out_of_memory"
  | "device_lost"
  | "disposed"
  | "worker"
  | "internal";

/** What an error carries beside its message: plain values, fit for a message between threads. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>;

/**
 * An error of this package.
 *
 * @example
 * try {
 *   await load("smollm2-135m-instruct");
 * } catch (error) {
 *   if (error instanceof FewbitError && error.code === "quota") askForSpace(error.details);
 *   else throw error;
 * }
 */
export class FewbitError extends Error {
  /** What went wrong, as a word to branch on. */
  readonly code: FewbitErrorCode;
  /** Which file, how many bytes, and the like. */
  readonly details: ErrorDetails;

  constructor(
    code: FewbitErrorCode,
    message: string,
    options: { details?: ErrorDetails; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = code === "aborted" ? "AbortError" : "FewbitError";
    this.code = code;
    this.details = options.details ?? {};
  }
}

/** An error as a message between page and worker carries it. */
export interface PlainError {
  readonly code: FewbitErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
}

const CODES: ReadonlySet<string> = new Set<FewbitErrorCode>([
  "aborted",
  "network",
  "http",
  "not_found",
  "checksum",
  "quota",
  "cache",
  "bad_argument",
  "bad_model",
  "unsupported",
  "unavailable",
  "context_full",
  "template",
  "out_of_memory",
  "device_lost",
  "disposed",
  "worker",
  "internal",
]);

/** Whether `code` is one of {@link FewbitErrorCode}. */
export function isCode(code: unknown): code is FewbitErrorCode {
  return typeof code === "string" && CODES.has(code);
}

/** Whatever was thrown, as a {@link FewbitError}. */
export function asFewbitError(thrown: unknown): FewbitError {
  if (thrown instanceof FewbitError) return thrown;
  if (thrown instanceof Error || isDomException(thrown)) {
    const { name, message } = thrown;
    // An error of the wasm module.
    if ("code" in thrown && isCode(thrown.code)) {
      const details = "details" in thrown ? (thrown.details as ErrorDetails) : {};
      return new FewbitError(thrown.code, message, { details: { ...details }, cause: thrown });
    }
    if (name === "AbortError") return new FewbitError("aborted", message || "aborted", { cause: thrown });
    if (name === "QuotaExceededError") {
      return new FewbitError("quota", message || "no storage left", { cause: thrown });
    }
    // `WebAssembly.Memory` that cannot grow, and ArrayBuffers that cannot be made.
    if (name === "RangeError" && /memory|allocation|array buffer/i.test(message)) {
      return new FewbitError("out_of_memory", message, { cause: thrown });
    }
    return new FewbitError("internal", `${name}: ${message}`, { cause: thrown });
  }
  return new FewbitError("internal", String(thrown));
}

/** The part of an error that a message can carry. */
export function toPlain(thrown: unknown): PlainError {
  const { code, message, details } = asFewbitError(thrown);
  return { code, message, details };
}

/** The error that a message carried. */
export function fromPlain(error: PlainError): FewbitError {
  return new FewbitError(error.code, error.message, { details: error.details });
}

/** The error to throw when `signal` has fired. */
export function abortError(signal: AbortSignal): FewbitError {
  return new FewbitError("aborted", "aborted by the caller", { cause: signal.reason });
}

/** Throws if `signal` has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal);
}

function isDomException(value: unknown): value is DOMException {
  return typeof DOMException !== "undefined" && value instanceof DOMException;
}

/**
 * The exceptions of the specification.
 */
import { FewbitError } from "../error.js";

/** What the module's builder refuses with: an exception's name, and its text. */
type Refusal = readonly [name: string, message: string];

/** The exception of that name; JavaScript's own `TypeError` and `RangeError` are no `DOMException`s. */
export function exception(name: string, message: string): Error {
  if (name === "TypeError") return new TypeError(message);
  return new DOMException(message, name);
}

/** What came out of a call into the module, as the page is to get it. */
export function refused(thrown: unknown): unknown {
  if (Array.isArray(thrown) && thrown.length === 2) {
    const [name, message] = thrown as unknown as Refusal;
    return exception(name, message);
  }
  if (thrown instanceof WebAssembly.RuntimeError) return exception("OperationError", `the module failed: ${thrown.message}`);
  return thrown;
}

/** What the worker failed with, as the page is to get it. */
export function failed(error: unknown): Error {
  if (!(error instanceof FewbitError)) return error as Error;
  const names: Partial<Record<FewbitError["code"], string>> = {
    unsupported: "NotSupportedError",
    unavailable: "NotSupportedError",
    out_of_memory: "QuotaExceededError",
    bad_argument: "DataError",
  };
  return exception(names[error.code] ?? "OperationError", error.message);
}

/** For constructors that a page may not call. */
export function illegal(): never {
  throw new TypeError("Illegal constructor");
}

import { describe, expect, it } from "vitest";

describe("on a server", () => {
  it("the package can be imported, and says what it cannot do there", async () => {
    expect(typeof document).toBe("undefined");
    const { load, cache, FewbitError } = await import("../src/index.js");
    const error = await load("smollm2-135m-instruct", { baseUrl: "https://example.org/" }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(FewbitError);
    expect(error).toMatchObject({ code: "unsupported" });
    expect(await cache.list()).toEqual([]);
    expect(await cache.persist()).toBe(false);
  });
});

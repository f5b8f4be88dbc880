import { describe, expect, it, vi } from "vitest";
import { PushStream } from "../src/stream.js";

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of stream) values.push(value);
  return values;
}

describe("PushStream", () => {
  it("keeps what comes before it is asked for", async () => {
    const stream = new PushStream<number>();
    stream.push(1);
    stream.push(2);
    stream.finish();
    stream.push(3);
    expect(await collect(stream)).toEqual([1, 2]);
  });

  it("hands out what comes while it waits", async () => {
    const stream = new PushStream<number>();
    const values = collect(stream);
    await Promise.resolve();
    stream.push(1);
    await Promise.resolve();
    stream.push(2);
    stream.finish();
    expect(await values).toEqual([1, 2]);
  });

  it("tells an error after what came before it, and once", async () => {
    const stream = new PushStream<number>();
    stream.push(1);
    stream.fail(new Error("broken"));
    const iterator = stream[Symbol.asyncIterator]();
    expect(await iterator.next()).toEqual({ value: 1, done: false });
    await expect(iterator.next()).rejects.toThrow("broken");
    expect(await iterator.next()).toEqual({ value: undefined, done: true });
  });

  it("calls back when its consumer leaves early, and only then", async () => {
    const left = vi.fn();
    const early = new PushStream<number>(left);
    early.push(1);
    for await (const _ of early) break;
    expect(left).toHaveBeenCalledOnce();
    const whole = new PushStream<number>(left);
    whole.push(1);
    whole.finish();
    await collect(whole);
    expect(left).toHaveBeenCalledOnce();
  });
});

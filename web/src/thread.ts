/**
 * A thread: instantiates the module over the shared memory and works in it until its worker is ended.
 */

/** What a thread is started with. */
export interface ThreadStart {
  readonly glue: string;
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly address: number;
}

/** The module's glue, as far as a thread needs it. */
interface ThreadGlue {
  initSync(init: { module: WebAssembly.Module; memory: WebAssembly.Memory }): unknown;
  poolWork(address: number): void;
}

onmessage = async ({ data }: MessageEvent<ThreadStart>): Promise<void> => {
  try {
    const glue = (await import(/* @vite-ignore */ /* webpackIgnore: true */ data.glue)) as ThreadGlue;
    glue.initSync({ module: data.module, memory: data.memory });
    postMessage("started");
    glue.poolWork(data.address);
  } catch (error) {
    postMessage(String(error));
  }
};
postMessage("ready");

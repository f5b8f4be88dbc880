/**
 * The worker: everything that computes runs here, so that the page never waits.
 */
import { createHandlers } from "./worker/engine.js";
import { graphHandlers } from "./worker/graphs.js";
import { type Endpoint, serve } from "./worker/server.js";

serve(globalThis as unknown as Endpoint, { ...createHandlers(), ...graphHandlers() });

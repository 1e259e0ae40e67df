/**
 * The native part of the codec reads batches with many strings twice as fast; loading it takes a quarter of the time in which a process starts. So
 * the package is built with the plain codec (tools/build.mjs), and a process takes the native part in when it has started.
 */

import { createRequire } from "node:module";
import * as msgpackr from "msgpackr";
import { setTimeout } from "../base/clock.ts";

/** Milliseconds after which a process has done what somebody waits for at its start. */
const settledMs = 500;

export function useNativeStringsSoon(): void {
  const { setExtractor } = msgpackr as { setExtractor?: (extract: unknown) => void };
  if (setExtractor === undefined) return; // run from its sources, which import the codec with its native part
  setTimeout(() => {
    try {
      const { resolve } = createRequire(import.meta.url);
      const { extractStrings } = createRequire(resolve("msgpackr"))("msgpackr-extract") as { extractStrings: unknown };
      setExtractor(extractStrings);
    } catch {
      // It is optional: not every platform has it.
    }
  }, settledMs).unref();
}

/**
 * Tells function capture what this entry's exports are: a function that uses a `Queue` or a `Counter` imports it in the worker instead of taking a
 * copy along. Metrics need that, as each process has one table of counts.
 */
import { registerSelfExports } from "../functions/index.ts";
import * as self from "./index.ts";

/** To be called when the entry is loaded. */
export function registerUtil(): void {
  const here = new URL(".", import.meta.url);
  const dist = here.pathname.endsWith("/chunks/") ? new URL("..", here) : here;
  const url = new URL("util.js", dist).href;
  registerSelfExports(url, self);
  // The module namespace that users hold is another object than the bundle's own view of it.
  import(url).then(
    (namespace) => registerSelfExports(url, namespace),
    () => {}, // run from sources, as unit tests do: there is no such file and no worker either
  );
}

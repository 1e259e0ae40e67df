/**
 * Tells function capture what this package's own exports are, so that a function that uses `shoal.get` imports it in the worker instead of taking it
 * along. Aliases and bundlers hide the specifier; identity does not lie.
 */
import { registerSelfExports } from "../functions/index.ts";
import * as self from "../index.ts";

let done = false;

export function registerSelf(): void {
  if (done) return;
  done = true;
  const here = new URL(".", import.meta.url);
  const dist = here.pathname.endsWith("/chunks/") ? new URL("..", here) : here;
  const url = new URL("index.js", dist).href;
  registerSelfExports(url, self);
  // The module namespace that users hold is another object than the bundle's own view of it.
  import(url).then(
    (namespace) => registerSelfExports(url, namespace),
    () => {}, // run from sources, as unit tests do: there is no such file and no worker either
  );
}

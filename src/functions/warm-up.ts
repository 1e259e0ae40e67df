/** Does ahead of time what the first capture of a process would have to do, while the process waits for something else. */
import { inspectFunction, releaseInspected } from "./inspect.ts";
import { parse } from "./parser.ts";
import { listScripts } from "./scripts.ts";

export function warmUp(): void {
  try {
    parse("", { ecmaVersion: "latest" });
    inspectFunction(warmUp);
    releaseInspected();
    if (hasLoader()) listScripts();
  } catch {
    // The capture will say what is wrong.
  }
}

/** Under a loader or test runner what runs is not what is in the files, so the debugger will be asked. */
function hasLoader(): boolean {
  const options = [...process.execArgv, process.env.NODE_OPTIONS ?? ""].join(" ");
  return process.env.VITEST !== undefined || /(^|\s)(--import|--loader|--experimental-loader|--require|-r)\b/.test(options);
}

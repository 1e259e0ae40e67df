/** Runs a measuring process and collects its outcomes. What ends without one, or takes too long, has failed and says how. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { type Outcome, outcomeMark } from "./measurement.ts";

export interface ChildRun {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Names it should give an outcome for. */
  readonly names: readonly string[];
  readonly timeoutMs: number;
}

/** Lines of the error output that a failure quotes. */
const quotedLines = 3;

/** Process groups of children that run now. */
const running = new Set<number>();

process.once("exit", () => running.forEach(endGroup));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

export async function runChild(run: ChildRun): Promise<Outcome[]> {
  const child = spawn(run.command, [...run.args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...run.env },
    detached: true,
  });
  if (child.pid !== undefined) running.add(child.pid);
  const outcomes: Outcome[] = [];
  let complaint: string[] = [];
  createInterface(child.stdout).on("line", (line) => {
    if (line.startsWith(outcomeMark)) outcomes.push(JSON.parse(line.slice(outcomeMark.length)) as Outcome);
  });
  createInterface(child.stderr).on("line", (line) => {
    if (line.trim() !== "") complaint = [...complaint, line.trim()].slice(-quotedLines);
  });
  const timer = setTimeout(() => endGroup(child.pid), run.timeoutMs);
  const end = await new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) => resolve(signal === null ? `ended with code ${code}` : `ended by ${signal}`));
  });
  clearTimeout(timer);
  if (child.pid !== undefined) running.delete(child.pid);
  const known = new Set(outcomes.map(({ name }) => name));
  const missing = run.names.filter((name) => !known.has(name));
  return [...outcomes, ...missing.map((name) => ({ name, failure: [end, ...complaint].join("; ") }))];
}

/** The child and what it started in its group; what it started elsewhere ends with it. */
function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has just ended.
  }
}

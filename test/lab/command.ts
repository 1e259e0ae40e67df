/**
 * Commands that the lab starts: their output is kept, their end is awaited with a bound, and the kernel ends them when the process
 * that started them dies, however it dies (a parent-death signal; not passed on to what they put into the background).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { isRunning } from "../support/processes.ts";
import { waitFor } from "../support/wait-for.ts";

export interface CommandOptions {
  env?: Readonly<Record<string, string>>;
  cwd?: string;
  /** Written to the standard input, which is then closed; without it the input is empty. */
  input?: string;
  /** After this the command is killed and `exited` fails, telling what it printed. */
  timeoutMs?: number;
}

export interface CommandResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const timeoutMsDefault = 60_000;

/** A running command. `exited` settles after its last output, so a daemon that keeps the output open counts as not finished. */
export class Command {
  readonly child: ChildProcess;
  readonly text: string;
  readonly exited: Promise<CommandResult>;
  #stdout = "";
  #stderr = "";
  #closed = false;

  /** @internal Use `startCommand`. */
  constructor(child: ChildProcess, text: string, options: CommandOptions) {
    this.child = child;
    this.text = text;
    child.stdout!.setEncoding("utf8").on("data", (chunk: string) => {
      this.#stdout += chunk;
    });
    child.stderr!.setEncoding("utf8").on("data", (chunk: string) => {
      this.#stderr += chunk;
    });
    child.stdin!.on("error", () => undefined); // ended before it read all its input
    if (options.input !== undefined) child.stdin!.end(options.input);
    this.exited = this.#follow(options.timeoutMs ?? timeoutMsDefault);
    this.exited.catch(() => undefined); // whoever awaits it sees the error
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }
  get stdout(): string {
    return this.#stdout;
  }
  get stderr(): string {
    return this.#stderr;
  }
  /** True once the command has ended and its output was closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Resolves when the standard output holds or matches `text`; fails when the command ends before. */
  async printed(text: string | RegExp, timeoutMs = 30_000): Promise<RegExpMatchArray> {
    const match = () => (typeof text === "string" ? (this.#stdout.includes(text) ? [text] : null) : this.#stdout.match(text));
    await waitFor(`'${this.text}' to print ${text}`, () => match() !== null || this.#closed, timeoutMs).catch((error) => {
      throw new Error(`${(error as Error).message}${this.#said()}`);
    });
    const found = match();
    if (found === null) throw new Error(`'${this.text}' ended without printing ${text}${this.#said()}`);
    return found as RegExpMatchArray;
  }

  #follow(timeoutMs: number): Promise<CommandResult> {
    return new Promise((resolve, reject) => {
      const timeout = setTimeout(() => {
        const running = isRunning(this.pid) ? "still runs" : "has ended, but something keeps its output open,";
        reject(new Error(`'${this.text}' ${running} after ${timeoutMs} ms${this.#said()}`));
        this.child.kill("SIGKILL");
        this.child.kill("SIGCONT");
        this.child.stdout!.destroy();
        this.child.stderr!.destroy();
      }, timeoutMs);
      this.child.once("error", (error) => {
        clearTimeout(timeout);
        this.#closed = true;
        reject(error);
      });
      this.child.once("close", (code, signal) => {
        clearTimeout(timeout);
        this.#closed = true;
        resolve({ stdout: this.#stdout, stderr: this.#stderr, code, signal });
      });
    });
  }

  #said(): string {
    return `\nstdout: ${this.#stdout.slice(-4_000)}\nstderr: ${this.#stderr.slice(-4_000)}`;
  }
}

/** Starts a command. Its standard input stays open until the caller ends it, unless `input` is given. */
export function startCommand(command: readonly string[], options: CommandOptions = {}): Command {
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", ...command], {
    env: options.env as NodeJS.ProcessEnv,
    cwd: options.cwd,
    stdio: ["pipe", "pipe", "pipe"],
    detached: true, // Ctrl-C at the test's terminal is for the test, which then cleans up
  });
  return new Command(child, command.join(" "), options);
}

/** Runs a command that must succeed and returns its standard output. */
export async function mustRun(command: readonly string[], options: CommandOptions = {}): Promise<string> {
  const running = startCommand(command, { timeoutMs: 15_000, input: "", ...options });
  const { stdout, stderr, code, signal } = await running.exited;
  if (code !== 0) throw new Error(`'${running.text}' failed (${signal ?? `exit code ${code}`}): ${stderr}${stdout}`);
  return stdout;
}

/** Pids of the children of a process; none when it has ended. */
export function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim().split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

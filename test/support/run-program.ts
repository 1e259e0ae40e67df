/**
 * Runs a user's program as a user runs it: files in a directory of their own with `shoal` in node_modules, a process of its own, and
 * afterwards the same ledger as in any test. SHOAL_TMPDIR is set to that directory, so what the program started is known by it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { shmRoot } from "./ledger.ts";
import { isRunning, processesMentioning } from "./processes.ts";
import { underTerminal } from "./terminal.ts";
import { waitFor } from "./wait-for.ts";

const repository = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

export interface Program {
  /** Files by path below the program's directory. */
  files?: Readonly<Record<string, string>>;
  /** Node's arguments, e.g. `["main.mjs"]`, `["-e", code]`, `["-i"]`. */
  args: readonly string[];
  /** Runs under tsx, for programs in TypeScript. */
  tsx?: boolean;
  /** Packages of the repository's node_modules that the program can import beside shoal. */
  packages?: readonly string[];
  env?: Readonly<Record<string, string | undefined>>;
  /** Written to the standard input, which is then closed. */
  stdin?: string;
  timeoutMs?: number;
  /** A process group of its own, as a terminal gives it, so that `process.kill(-pid, "SIGINT")` is Ctrl-C. */
  ownGroup?: boolean;
  /** Runs under a terminal of its own (`underTerminal` says whether there can be one): what is written to `child.stdin` is typed there. */
  terminal?: boolean;
}

export interface ProgramResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Directory the program ran in; it is removed already. */
  readonly dir: string;
}

export interface RunningProgram {
  readonly child: ChildProcess;
  readonly dir: string;
  /** Everything printed to the standard output until now. */
  stdout(): string;
  stderr(): string;
  /** Resolves when the output holds `text` or matches it; fails if the program ends before. */
  printed(text: string | RegExp): Promise<RegExpMatchArray>;
  /** Resolves with the exit of the program itself. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** Processes and directories of the program's sessions that are there now, a line each. */
  left(): string[];
  /** Ends the program if it runs, checks that nothing of it is left, and removes its directory. */
  finish(): Promise<ProgramResult>;
}

/** Starts a program and returns at once; for tests that talk to it. Always `finish()` it. */
export function startProgram(program: Program): RunningProgram {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), "shoal-program-")));
  for (const [path, text] of Object.entries(program.files ?? {})) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  }
  linkPackages(dir, program.packages ?? []);
  const sessions = join(dir, "sessions");
  mkdirSync(sessions);
  const env: NodeJS.ProcessEnv = { ...process.env, SHOAL_TMPDIR: sessions, ...program.env };
  for (const name of Object.keys(env))
    if (name.startsWith("VITEST") || name === "NODE_OPTIONS" || name === "TEST") delete env[name];
  const loader = program.tsx ? ["--import", import.meta.resolve("tsx")] : [];
  const command = [process.execPath, ...loader, ...program.args];
  const [executable, ...args] = program.terminal ? (underTerminal?.(command) ?? []) : command;
  if (executable === undefined) throw new Error("Cannot run a program under a terminal as this machine has no means for it");
  const child = spawn(executable, args, {
    cwd: dir,
    env,
    stdio: ["pipe", "pipe", "pipe"],
    detached: program.ownGroup ?? false,
  });
  const seenSessions = new Set<string>();
  return follow(child, dir, sessions, seenSessions, program);
}

/** Runs a program to its end. Does not judge its exit code. */
export async function runProgram(program: Program): Promise<ProgramResult> {
  const running = startProgram(program);
  const timeout = setTimeout(() => running.child.kill("SIGKILL"), program.timeoutMs ?? 40_000);
  await running.exited;
  clearTimeout(timeout);
  return running.finish();
}

function linkPackages(dir: string, packages: readonly string[]): void {
  mkdirSync(join(dir, "node_modules"), { recursive: true });
  if (!existsSync(join(dir, "node_modules", "shoal"))) symlinkSync(repository, join(dir, "node_modules", "shoal"));
  for (const name of packages) {
    mkdirSync(dirname(join(dir, "node_modules", name)), { recursive: true });
    symlinkSync(join(repository, "node_modules", name), join(dir, "node_modules", name));
  }
}

/** Sessions below the program's SHOAL_TMPDIR. Their names are also those of their shared-memory directories. */
function sessionsIn(root: string): string[] {
  return readdirSync(root).flatMap((user) =>
    readdirSync(join(root, user)).filter((name) => existsSync(join(root, user, name, "sockets"))),
  );
}

function follow(child: ChildProcess, dir: string, sessions: string, seen: Set<string>, program: Program): RunningProgram {
  let stdout = "";
  let stderr = "";
  const look = () => {
    try {
      for (const name of sessionsIn(sessions)) seen.add(name);
    } catch {
      // removed between two looks
    }
  };
  const looking = setInterval(look, 50);
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    look();
    stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  if (program.stdin !== undefined) child.stdin?.end(program.stdin);
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal })); // after the last output
  });
  exited.finally(() => clearInterval(looking)).catch(() => undefined);
  const pid = child.pid ?? 0;
  return {
    child,
    dir,
    exited,
    stdout: () => stdout,
    stderr: () => stderr,
    left: () => leftBehind(sessions, seen),
    async printed(text) {
      const match = () =>
        (typeof text === "string" ? (stdout.includes(text) ? [text] : null) : stdout.match(text)) as RegExpMatchArray | null;
      await waitFor(`the program to print ${text}`, () => match() !== null || !isRunning(pid), 30_000);
      const found = match();
      if (found === null) throw new Error(`The program ended without printing ${text}\n${stdout}\n${stderr}`);
      return found;
    },
    async finish() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      const end = await exited;
      const left = () => leftBehind(sessions, seen);
      await waitFor("the program's session to be gone", () => left().length === 0, 5_000).catch(() => undefined);
      const found = left();
      rmSync(dir, { recursive: true, force: true });
      if (found.length > 0)
        throw new Error(`The program left behind:\n${found.join("\n")}\nstdout: ${stdout}\nstderr: ${stderr}`);
      return { stdout, stderr, ...end, dir };
    },
  };
}

function leftBehind(sessions: string, seen: Set<string>): string[] {
  const left = processesMentioning(sessions).map(({ pid, command }) => `process ${pid}: ${command}`);
  for (const name of sessionsIn(sessions)) left.push(`session directory ${name}`);
  for (const name of seen) if (existsSync(join(shmRoot, name))) left.push(`${join(shmRoot, name)}`);
  return left;
}

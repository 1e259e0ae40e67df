/**
 * Runs the command line as a user does who has nothing else: a home and a directory for sessions of their own, made for one test. Afterwards
 * nothing may be left: `finish()` ends what the test has not ended, and then looks.
 */
import { type ChildProcess, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { shmRoot } from "./ledger.ts";
import { processesMentioning } from "./processes.ts";
import { waitFor } from "./wait-for.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));
export const cliEntry = join(repository, "dist", "cli.js");

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningCommand {
  readonly child: ChildProcess;
  readonly ended: Promise<Outcome>;
  stdout(): string;
  /** Resolves when the standard output matches; fails if the command ends before. */
  printed(text: RegExp): Promise<RegExpMatchArray>;
  /** The same for the standard error. */
  complained(text: RegExp): Promise<RegExpMatchArray>;
}

export interface Options {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly entry?: string;
  /** A machine of its own, as far as files of sessions go. */
  readonly place?: string;
}

export class Sandbox {
  readonly dir = realpathSync(mkdtempSync(join(tmpdir(), "sh-cli-")));
  readonly home = join(this.dir, "home");
  private readonly seen = new Set<string>();

  constructor() {
    mkdirSync(this.home);
    mkdirSync(join(this.dir, "node_modules"));
    symlinkSync(repository, join(this.dir, "node_modules", "shoal"));
  }

  write(name: string, text: string): string {
    writeFileSync(join(this.dir, name), text);
    return join(this.dir, name);
  }

  /** Runs `shoal` with these arguments to its end. */
  async shoal(args: readonly string[], options: Options = {}): Promise<Outcome> {
    return this.start(args, options).ended;
  }

  /** As `shoal`; fails unless it exits with 0. Resolves with what it printed. */
  async ok(args: readonly string[], options: Options = {}): Promise<string> {
    const { code, stdout, stderr } = await this.shoal(args, options);
    if (code !== 0) throw new Error(`shoal ${args.join(" ")} ended with ${code}\n${stdout}${stderr}`);
    return stdout;
  }

  async json(args: readonly string[], options: Options = {}): Promise<any> {
    return JSON.parse(await this.ok([...args, "--json"], options));
  }

  /** Starts a head on loopback and resolves with its address. */
  async head(args: readonly string[] = [], options: Options = {}): Promise<string> {
    const all = ["start", "--head", "--port", "0", "--node-ip-address", "127.0.0.1", "--num-cpus", "1", ...args];
    const said = await this.ok(all, options);
    const address = /start --address=(\S+)/.exec(said)?.[1];
    if (address === undefined) throw new Error(`No address in\n${said}`);
    return address;
  }

  /** Runs a program that imports shoal, to its end. */
  async node(file: string, options: Options = {}): Promise<Outcome> {
    return this.start([], { ...options, entry: file }).ended;
  }

  start(args: readonly string[], { env = {}, entry = cliEntry, place = "here" }: Options = {}): RunningCommand {
    const sessions = join(this.dir, place);
    mkdirSync(sessions, { recursive: true });
    const all: NodeJS.ProcessEnv = { ...process.env, HOME: this.home, SHOAL_TMPDIR: sessions };
    for (const name of Object.keys(all))
      if (/^(VITEST|SHOAL_ADDRESS|SHOAL_AUTH_TOKEN|NODE_OPTIONS|TEST$|SLURM)/.test(name)) delete all[name];
    const child = spawn(process.execPath, [entry, ...args], {
      cwd: this.dir,
      env: { ...all, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      stdout += text;
      this.look();
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      stderr += text;
    });
    const ended = new Promise<Outcome>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
    });
    const isOver = () => child.exitCode !== null || child.signalCode !== null;
    const seen = async (text: RegExp, output: () => string) => {
      await waitFor(`the command to print ${text}`, () => text.test(output()) || isOver(), 30_000);
      const found = text.exec(output());
      if (found === null) throw new Error(`It ended without printing ${text}\n${stdout}\n${stderr}`);
      return found;
    };
    return {
      child,
      ended,
      stdout: () => stdout,
      printed: (text) => seen(text, () => stdout),
      complained: (text) => seen(text, () => stderr),
    };
  }

  /** Sessions there are now, by name. */
  sessions(place = "here"): string[] {
    this.look();
    const dir = join(this.dir, place);
    return existsSync(dir) ? readdirSync(dir).flatMap((user) => readdirSync(join(dir, user))) : [];
  }

  nodeFile(session: string, place = "here"): Record<string, unknown> {
    const dir = join(this.dir, place);
    return JSON.parse(readFileSync(join(dir, readdirSync(dir)[0], session, "node.json"), "utf8"));
  }

  /** Processes, session directories and shared memory of this sandbox, a line each. */
  left(): string[] {
    const left = processesMentioning(this.dir).map(({ pid, command }) => `process ${pid}: ${command}`);
    for (const place of readdirSync(this.dir))
      if (!["home", "node_modules"].includes(place))
        for (const session of sessionsBelow(join(this.dir, place))) left.push(`session ${session} in ${place}`);
    for (const name of this.seen) if (existsSync(join(shmRoot, name))) left.push(join(shmRoot, name));
    return left;
  }

  /** Ends what still runs, removes the directory, and fails if the test had not ended it itself. */
  async finish(): Promise<void> {
    await waitFor("everything to have ended", () => this.left().length === 0, 5_000).catch(() => {});
    const left = this.left();
    for (const { pid } of processesMentioning(this.dir)) process.kill(pid, "SIGKILL");
    await waitFor("processes to be gone", () => processesMentioning(this.dir).length === 0, 5_000);
    for (const name of this.seen) rmSync(join(shmRoot, name), { recursive: true, force: true });
    rmSync(this.dir, { recursive: true, force: true });
    if (left.length > 0) throw new Error(`Left behind:\n${left.join("\n")}`);
  }

  private look(): void {
    for (const place of readdirSync(this.dir))
      if (!["home", "node_modules"].includes(place)) for (const name of sessionsBelow(join(this.dir, place))) this.seen.add(name);
  }
}

function sessionsBelow(dir: string): string[] {
  try {
    return readdirSync(dir)
      .filter((user) => user.startsWith("shoal-"))
      .flatMap((user) => readdirSync(join(dir, user)));
  } catch {
    return []; // a file, or removed between two looks
  }
}

/** Runs `body` with a sandbox, and checks afterwards that nothing is left. */
export async function inSandbox(body: (sandbox: Sandbox) => Promise<void>): Promise<void> {
  const sandbox = new Sandbox();
  try {
    await body(sandbox);
  } catch (error) {
    await sandbox.finish().catch(() => {}); // what went wrong is worth more than what is left of it
    throw error;
  }
  await sandbox.finish();
}

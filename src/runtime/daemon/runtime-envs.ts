/**
 * Sets up runtime environments: what must exist before a worker process can start in one. A set of npm packages is installed once per
 * session, whoever asks and however often; a failure says what the tool said.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { RuntimeEnvSpec } from "../../wire/messages.ts";
import { runtimeEnvTimeoutMs } from "./config.ts";
import { killGroup } from "./worker-process.ts";

export interface PreparedEnv {
  readonly cwd: string;
  readonly envVars: Readonly<Record<string, string>>;
  /** `node_modules` of the installed packages; null without. */
  readonly npmDir: string | null;
}

/** Characters of a failed tool's output that go into the error. */
const outputLengthMax = 4_000;

/** Where a job comes from. */
export interface JobHome {
  /** The driver's working directory, to which those of runtime envs are relative. */
  readonly cwd: string;
  /** Brings a directory of the driver's node here; null when this is that node. */
  readonly fetch: ((path: string, excludes: readonly string[], timeoutMs: number) => Promise<string>) | null;
}

export class RuntimeEnvs {
  private readonly sessionDir: string;
  /** By hash of the package list; a failed one is removed, so that the next worker tries again. */
  private readonly installs = new Map<string, Promise<string>>();
  /** Process groups of running tools. */
  private readonly running = new Set<number>();

  constructor(sessionDir: string) {
    this.sessionDir = sessionDir;
  }

  /** At once where there is nothing to install or to fetch. Throws (or rejects with) an Error whose message is for the user. */
  prepare(spec: RuntimeEnvSpec | null, home: JobHome): PreparedEnv | Promise<PreparedEnv> {
    const cwd = this.workingDir(spec, home);
    const envVars = spec?.envVars ?? {};
    const npmDir = this.packages(spec);
    if (!(cwd instanceof Promise) && !(npmDir instanceof Promise)) return { cwd, envVars, npmDir };
    return Promise.all([cwd, npmDir]).then(([cwd, npmDir]) => ({ cwd, envVars, npmDir }));
  }

  close(): void {
    for (const pid of this.running) killGroup(pid);
  }

  /**
   * On the driver's node the directory itself; elsewhere a copy of it. A driver's own directory is used where there is one of that name: it may also have been
   * removed under a driver that goes on.
   */
  private workingDir(spec: RuntimeEnvSpec | null, { cwd, fetch }: JobHome): string | Promise<string> {
    if (spec?.workingDir === undefined) return isDirectory(cwd) ? cwd : this.sessionDir;
    const dir = resolve(cwd, spec.workingDir);
    if (fetch !== null) return fetch(dir, spec.excludes ?? [], spec.setupTimeoutMs ?? runtimeEnvTimeoutMs);
    if (!isDirectory(dir))
      throw new Error(`Cannot use '${spec.workingDir}' as working directory as it is not a directory: ${dir}`);
    return dir;
  }

  private packages(spec: RuntimeEnvSpec | null): null | Promise<string> {
    if (spec?.npm === undefined || spec.npm.length === 0) return null;
    return this.install(spec.npm, spec.setupTimeoutMs ?? runtimeEnvTimeoutMs);
  }

  private install(packages: readonly string[], timeoutMs: number): Promise<string> {
    const hash = createHash("sha256")
      .update(JSON.stringify([...packages].sort()))
      .digest("hex")
      .slice(0, 16);
    const known = this.installs.get(hash);
    if (known !== undefined) return known;
    const installing = this.runNpm(packages, hash, timeoutMs);
    this.installs.set(hash, installing);
    installing.catch(() => this.installs.delete(hash));
    return installing;
  }

  private runNpm(packages: readonly string[], hash: string, timeoutMs: number): Promise<string> {
    const flag = packages.find((name) => name.startsWith("-"));
    if (flag !== undefined) return Promise.reject(new Error(`Cannot install '${flag}' as a package: it looks like an option`));
    const prefix = join(this.sessionDir, "npm", hash);
    mkdirSync(prefix, { recursive: true, mode: 0o700 });
    writeFileSync(join(prefix, "package.json"), JSON.stringify({ private: true }));
    const args = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", prefix, ...packages];
    return new Promise((resolve, reject) => {
      const child = spawn("npm", args, { cwd: prefix, stdio: ["ignore", "pipe", "pipe"], detached: true });
      let output = "";
      let timedOut = false;
      const collect = (chunk: Buffer): void => {
        output = (output + chunk.toString()).slice(-outputLengthMax);
      };
      child.stdout.on("data", collect);
      child.stderr.on("data", collect);
      if (child.pid !== undefined) this.running.add(child.pid);
      const timer = setTimeout(() => {
        timedOut = true;
        killGroup(child.pid ?? 0);
      }, timeoutMs);
      const failed = (why: string): void =>
        reject(
          new Error(`Cannot install npm packages ${packages.join(", ")}: ${why}${output === "" ? "" : `\n${output.trim()}`}`),
        );
      child.once("error", (error) => {
        clearTimeout(timer);
        failed(error.message);
      });
      child.once("close", (code, signal) => {
        clearTimeout(timer);
        this.running.delete(child.pid ?? 0);
        if (code === 0) resolve(join(prefix, "node_modules"));
        else
          failed(
            timedOut
              ? `npm was not through after ${timeoutMs} ms`
              : `npm ${signal === null ? `exited with code ${code}` : `was killed by ${signal}`}`,
          );
      });
    });
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

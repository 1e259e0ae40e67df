/** Where and when figures were measured. */
import { execFileSync } from "node:child_process";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import { fileURLToPath } from "node:url";

export interface Machine {
  readonly date: string;
  readonly commit: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memory: string;
  readonly kernel: string;
  readonly node: string;
  /** Load over one minute when the run began: other work on the machine makes every figure worse. */
  readonly load: string;
  readonly python: string | null;
}

export function describeMachine(python: string | null): Machine {
  const models = cpus();
  return {
    date: `${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC`,
    commit: commit(),
    cpu: models[0]?.model.trim() ?? "unknown",
    cores: models.length,
    memory: `${(totalmem() / 2 ** 30).toFixed(1)} GiB`,
    kernel: `${type()} ${release()}`,
    node: process.version,
    load: loadavg()[0].toFixed(2),
    python: python === null ? null : rayVersion(python),
  };
}

function commit(): string {
  const git = (...args: string[]): string =>
    execFileSync("git", args, { cwd: fileURLToPath(new URL(".", import.meta.url)), encoding: "utf8" }).trim();
  try {
    const changed = git("status", "--porcelain", "--", "../src") !== "";
    return `${git("rev-parse", "--short=12", "HEAD")}${changed ? " with uncommitted changes in src/" : ""}`;
  } catch {
    return "unknown: not a git checkout";
  }
}

/** Null when that interpreter has no Ray. */
function rayVersion(python: string): string | null {
  const program = "import platform, ray; print(f'Ray {ray.__version__}, Python {platform.python_version()}')";
  try {
    return execFileSync(python, ["-c", program], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return null;
  }
}

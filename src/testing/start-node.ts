/** Starts a node daemon as a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { DaemonConfig, StartReport } from "../runtime/daemon/config.ts";

export interface StartedNode {
  readonly child: ChildProcess;
  readonly report: StartReport;
  /** Resolves when the process has ended. */
  readonly ended: Promise<void>;
}

/** Resolves when it is a member. `listening` is told its port as soon as it has one. */
export function startNode(
  config: DaemonConfig,
  env: Readonly<Record<string, string>>,
  listening: (port: number) => void,
): Promise<StartedNode> {
  const child = spawn(process.execPath, [daemonEntry()], {
    detached: true,
    stdio: ["pipe", "ignore", "pipe", "pipe"], // it ends with its standard input, and so with this process
    env: { ...inherited(), ...env, SHOAL_DAEMON_CONFIG: JSON.stringify(config) },
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.unref();
  return new Promise((resolve, reject) => {
    let stderr = "";
    let text = "";
    const fail = (why: string): void => {
      child.kill("SIGKILL");
      reject(new Error(`Cannot start node: ${why}${stderr === "" ? "" : `\n${stderr.trim()}`}`));
    };
    child.once("error", (error) => fail(error.message));
    const endedEarly = (code: number | null, signal: string | null): void =>
      fail(`its daemon ended with ${signal ?? `code ${code}`}`);
    child.once("exit", endedEarly);
    child.stderr?.on("data", (chunk: Buffer) => {
      stderr = (stderr + chunk.toString()).slice(-4_000);
    });
    (child.stdio[3] as Readable).on("data", (chunk: Buffer) => {
      text += chunk.toString();
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
        const report = JSON.parse(text.slice(0, end)) as StartReport & { listening?: number };
        text = text.slice(end + 1);
        if (report.listening !== undefined) listening(report.listening);
        else if (report.ok) {
          child.off("exit", endedEarly);
          (child.stdin as Socket).unref();
          for (const stream of [child.stderr, child.stdio[3]]) (stream as Readable).destroy();
          resolve({ child, report, ended });
        } else fail(report.error ?? "it gave no reason");
      }
    });
  });
}

function daemonEntry(): string {
  const here = new URL(".", import.meta.url);
  return fileURLToPath(new URL("./daemon.js", here.pathname.endsWith("/chunks/") ? new URL("..", here) : here));
}

function inherited(): NodeJS.ProcessEnv {
  const dropped = /^(NODE_OPTIONS|NODE_V8_COVERAGE|NODE_CHANNEL_.*|VITEST.*|TSX.*|SHOAL_.*_CONFIG|SHOAL_ADDRESS)$/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !dropped.test(name)));
}

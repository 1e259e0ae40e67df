/** Running a command where the head is: here when its node is this machine's, else in a worker over there. */
import { nodeAffinity } from "../api/scheduling-strategies.ts";
import type { ClusterClient } from "./cluster-client.ts";
import { Failure } from "./failure.ts";

export const isAtHead = ({ welcome }: ClusterClient): boolean => welcome.nodeId === welcome.headNodeId;

/** Milliseconds the head has for a short command. */
const remoteCommandMs = 60_000;

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RemoteHead {
  /** Runs this command line program on the head's machine with `args` and `--json`; resolves with what it printed. */
  ask(args: readonly string[]): Promise<any>;
  close(): Promise<void>;
}

/** Joins the cluster as a driver does: only tasks get to other nodes. */
export async function reachHead(cluster: ClusterClient): Promise<RemoteHead> {
  const { get, init, remote, shutdown } = await import("../index.ts");
  const { address, headNodeId } = cluster.welcome;
  await init({ address, logToDriver: false, ignoreReinitError: true });
  const run = remote(runBesideWorker, { numCpus: 0, schedulingStrategy: nodeAffinity(headNodeId), maxRetries: 0 });
  return {
    async ask(args) {
      const rest = args.includes("--") ? args.indexOf("--") : args.length; // what follows is not for us
      const all = [...args.slice(0, rest), "--json", "--address", address, ...args.slice(rest)];
      const task = run.remote(all, remoteCommandMs);
      const { code, stdout, stderr } = await get(task, { timeoutMs: remoteCommandMs * 2 });
      if (code !== 0) throw new Failure(stderr.trim() || `Cannot run '${args.join(" ")}' on the head's node`, code ?? 1);
      return JSON.parse(stdout);
    },
    close: shutdown,
  };
}

/** Runs in a worker: the program is beside the worker's own, wherever that is installed. */
async function runBesideWorker(args: readonly string[], timeoutMs: number): Promise<Outcome> {
  const { execFile } = await import("node:child_process");
  const { dirname, join } = await import("node:path");
  const program = join(dirname(process.argv[1]), "cli.js");
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [program, ...args],
      { timeout: timeoutMs, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === "number" ? error.code : null;
        resolve({ code, stdout, stderr: stderr || (error?.message ?? "") });
      },
    );
  });
}

/** Options and result of `init`. */
import type { RuntimeEnv } from "./types.ts";

export interface InitOptions {
  /** "host:port", "auto" or "local". Default: `$SHOAL_ADDRESS`, else the cluster running on this machine, else a new local one. */
  address?: string;
  /** CPUs of the node this call starts, at most 100,000. Default: those the process may use. */
  numCpus?: number;
  numGpus?: number;
  /** Custom resources of the node, by name. */
  resources?: Record<string, number>;
  /** Labels of the node, for `labelSelector`. */
  labels?: Record<string, string>;
  /** Bytes of shared memory for objects; beyond it they live on disk. Default 30 % of RAM, capped by the shared-memory file system. */
  objectStoreMemory?: number;
  /** Where actor names are looked up by default. */
  namespace?: string;
  /** Environment of all workers of this program. */
  runtimeEnv?: RuntimeEnv;
  /** Print what workers print. Default true. */
  logToDriver?: boolean;
  /** A page that shows what runs, at `dashboardUrl`. Default: none. Port: 8265 or the next free one, unless named. */
  dashboard?: boolean | { host?: string; port?: number };
  /** A second `init` returns the running session instead of rejecting. */
  ignoreReinitError?: boolean;
}

export interface ClusterContext extends AsyncDisposable {
  readonly address: string;
  readonly nodeId: string;
  readonly jobId: string;
  readonly namespace: string;
  /** Directory of the session's logs, sockets and spilled objects. */
  readonly sessionDir: string;
  /** The dashboard's address with the key to it, when there is one and it is on this machine. */
  readonly dashboardUrl?: string;
}

/** What a case is, and the session it runs in. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as shoal from "shoal";
import type { Measurement, Scale } from "../measurement.ts";
import { commandOf, processTree } from "../memory.ts";

export type Case = (scale: Scale) => Promise<Measurement>;

type SessionCase = (scale: Scale, cluster: shoal.ClusterContext) => Promise<Measurement>;

/** A directory for CPU profiles of the workers (`--profile`). */
const profileDir = process.env.SHOAL_BENCH_PROFILE;

const profiling = (dir: string): shoal.RuntimeEnv => ({
  envVars: { SHOAL_BENCH_PROFILE: dir, NODE_OPTIONS: `--import=${new URL("profiled.mjs", import.meta.url)}` },
});

/** As `init()` takes it by itself, plus the resource that Ray's placement groups are made of. */
const options: shoal.InitOptions = {
  resources: { custom: 100 },
  ...(profileDir === undefined ? {} : { runtimeEnv: profiling(profileDir) }),
};

/** Runs a case in a session of its own; the small ones, which only show that they run, share one until `closeSession()`. */
export function inSession(measure: SessionCase): Case {
  return async (scale) => {
    const cluster = await shoal.init({ ...options, ignoreReinitError: scale.small });
    try {
      return await measure(scale, cluster);
    } finally {
      if (profileDir !== undefined) await writeProfiles(profileDir);
      if (!scale.small) await shoal.shutdown();
    }
  };
}

/** Has every worker write its profile, and waits for it. */
async function writeProfiles(dir: string): Promise<void> {
  const workers = processTree(process.pid).filter((pid) => commandOf(pid).startsWith("shoal worker"));
  for (const pid of workers) process.kill(pid, "SIGUSR2");
  const deadline = Date.now() + 10_000;
  while (Date.now() < deadline && workers.some((pid) => !existsSync(join(dir, `worker-${pid}.cpuprofile`)))) await sleep(50);
}

export function closeSession(): Promise<void> {
  return shoal.shutdown();
}

/** What a case is, and the session it runs in. */
import * as shoal from "shoal";
import type { Measurement, Scale } from "../measurement.ts";

export type Case = (scale: Scale) => Promise<Measurement>;

type SessionCase = (scale: Scale, cluster: shoal.ClusterContext) => Promise<Measurement>;

/** A directory for CPU profiles of the workers (`--profile`). */
const profileDir = process.env.SHOAL_BENCH_PROFILE;

/** Runs a case in a session of its own, with as many CPUs as `init()` takes by itself. */
export function inSession(measure: SessionCase, options: shoal.InitOptions = {}): Case {
  return async (scale) => {
    const profiling = { runtimeEnv: { envVars: { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profileDir}` } } };
    const cluster = await shoal.init({ ...options, ...(profileDir === undefined ? {} : profiling) });
    try {
      return await measure(scale, cluster);
    } finally {
      await shoal.shutdown();
    }
  };
}

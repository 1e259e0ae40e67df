/** What a case is, and the session it runs in. */
import * as shoal from "shoal";
import type { Measurement, Scale } from "../measurement.ts";

export type Case = (scale: Scale) => Promise<Measurement>;

type SessionCase = (scale: Scale, cluster: shoal.ClusterContext) => Promise<Measurement>;

/** A directory for CPU profiles of the workers (`--profile`). */
const profileDir = process.env.SHOAL_BENCH_PROFILE;

/** As `init()` takes it by itself, plus the resource that Ray's placement groups are made of. */
const options: shoal.InitOptions = {
  resources: { custom: 100 },
  ...(profileDir === undefined ? {} : { runtimeEnv: { envVars: { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profileDir}` } } }),
};

/** Runs a case in a session of its own; the small ones, which only show that they run, share one until `closeSession()`. */
export function inSession(measure: SessionCase): Case {
  return async (scale) => {
    const cluster = await shoal.init({ ...options, ignoreReinitError: scale.small });
    try {
      return await measure(scale, cluster);
    } finally {
      if (!scale.small) await shoal.shutdown();
    }
  };
}

export function closeSession(): Promise<void> {
  return shoal.shutdown();
}

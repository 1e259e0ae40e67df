/**
 * The runtime env of a job, as the scheduler sees it. A process says in full in which env its tasks run; where that is the job's own env it
 * becomes null for the scheduler, so that the job's first workers, started before anybody asked, are found to fit.
 */
import { isDeepStrictEqual } from "node:util";
import type { JobId } from "../../base/ids.ts";
import type { RuntimeEnvSpec, SchedulingSpec } from "../../wire/messages.ts";

export class JobEnvs {
  private readonly envs = new Map<JobId, RuntimeEnvSpec>();

  set(jobId: JobId, env: RuntimeEnvSpec | null): void {
    if (env !== null) this.envs.set(jobId, env);
  }

  /** What the scheduler is told. */
  toScheduler(jobId: JobId, spec: SchedulingSpec): SchedulingSpec {
    if (spec.runtimeEnv === null) return spec;
    const own = this.envs.get(jobId) ?? {};
    return isDeepStrictEqual(spec.runtimeEnv, own) ? { ...spec, runtimeEnv: null } : spec;
  }

  /** What a worker is started in. */
  toWorker(jobId: JobId, env: RuntimeEnvSpec | null): RuntimeEnvSpec | null {
    return env ?? this.envs.get(jobId) ?? null;
  }
}

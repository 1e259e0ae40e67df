/**
 * Which Slurm job a node belongs to, kept in a label. Two jobs on one machine may want the same port: the second head cannot have it, and its
 * nodes, which know nothing but that address, would join the first job's head. So a head of a job refuses nodes of another.
 */
export const slurmJobLabel = "slurm.job";

/** The label of a node that runs in a job; none elsewhere. */
export function slurmJobLabels(env: NodeJS.ProcessEnv): Readonly<Record<string, string>> {
  return env.SLURM_JOB_ID ? { [slurmJobLabel]: env.SLURM_JOB_ID } : {};
}

type Labels = Readonly<Record<string, string>>;

/** Why the head refuses a node, by the labels of both; null when it does not. A node of no job may join any head. */
export function refusalByJob(head: Labels, node: Labels): string | null {
  const [headJob, nodeJob] = [head[slurmJobLabel], node[slurmJobLabel]];
  if (headJob === undefined || nodeJob === undefined || headJob === nodeJob) return null;
  return (
    `its head is of Slurm job ${headJob} and this node of job ${nodeJob}. Did the head of job ${nodeJob} fail as the port was taken? ` +
    `Give each job its own: --port=$((10000 + SLURM_JOB_ID % 50000)). To join another job's head on purpose: --labels ${slurmJobLabel}=${headJob}`
  );
}

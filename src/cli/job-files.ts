/** Submitted jobs as they are kept in the head's session: `jobs/<id>/` with the job's state and its supervisor's mark, and `logs/job-<id>.log`. */
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sessionHolder } from "../objects/index.ts";
import { until } from "./wait-until.ts";

export type JobState = "PENDING" | "RUNNING" | "SUCCEEDED" | "FAILED" | "STOPPED";

export interface JobFile {
  readonly submissionId: string;
  readonly entrypoint: string;
  readonly state: JobState;
  readonly workingDir: string;
  readonly startMs: number;
  readonly endMs: number | null;
  /** Of the entrypoint; null while it runs and when a signal ended it. */
  readonly exitCode: number | null;
  readonly message: string;
}

export const jobsDir = (sessionDir: string): string => join(sessionDir, "jobs");
export const jobDir = (sessionDir: string, id: string): string => join(jobsDir(sessionDir), id);
export const jobLog = (sessionDir: string, id: string): string => join(sessionDir, "logs", `job-${id}.log`);
export const hasEnded = ({ state }: JobFile): boolean => state !== "PENDING" && state !== "RUNNING";

/** Ids are parts of file names. */
export const isJobId = (id: string): boolean => /^[A-Za-z0-9][\w.-]{0,99}$/.test(id);

/** Null when there is no such job. One whose supervisor is gone without a word has failed. */
export function readJob(sessionDir: string, id: string): JobFile | null {
  if (!isJobId(id)) return null;
  let job: JobFile;
  try {
    job = JSON.parse(readFileSync(join(jobDir(sessionDir, id), "job.json"), "utf8")) as JobFile;
  } catch {
    return null;
  }
  if (hasEnded(job) || supervisorOf(sessionDir, id) !== null) return job;
  return { ...job, state: "FAILED", message: "its supervisor was ended by force" };
}

export function readJobs(sessionDir: string): JobFile[] {
  let ids: string[];
  try {
    ids = readdirSync(jobsDir(sessionDir));
  } catch {
    return [];
  }
  return ids.flatMap((id) => readJob(sessionDir, id) ?? []).sort((a, b) => a.startMs - b.startMs);
}

/** Makes the job's directory; false when the id is taken. */
export function claimJob(sessionDir: string, id: string): boolean {
  mkdirSync(jobsDir(sessionDir), { recursive: true, mode: 0o700 });
  try {
    mkdirSync(jobDir(sessionDir, id), { mode: 0o700 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

export function writeJob(sessionDir: string, job: JobFile): void {
  const path = join(jobDir(sessionDir, job.submissionId), "job.json");
  writeFileSync(`${path}.new`, JSON.stringify(job), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** Process id of the job's supervisor, if it lives. */
export const supervisorOf = (sessionDir: string, id: string): number | null => sessionHolder(jobDir(sessionDir, id));

/** Asks the supervisor to end its job; true when it has. */
export async function stopJob(sessionDir: string, id: string, graceMs: number): Promise<boolean> {
  const pid = supervisorOf(sessionDir, id);
  if (pid === null) return true;
  try {
    process.kill(pid, "SIGTERM");
  } catch {
    return true; // it has just ended
  }
  return until(() => supervisorOf(sessionDir, id) !== pid, graceMs);
}

/** Ends all jobs of a session that is about to end. */
export async function stopJobsOf(sessionDir: string, graceMs: number): Promise<void> {
  const running = readJobs(sessionDir).filter((job) => !hasEnded(job));
  await Promise.all(running.map((job) => stopJob(sessionDir, job.submissionId, graceMs)));
}

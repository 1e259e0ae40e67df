/** `shoal job`: commands that run on the head's node, whoever submitted them may go. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import type { Socket } from "node:net";
import { dirname, resolve } from "node:path";
import { type ClusterClient, type ClusterFlags, withCluster } from "./cluster-client.ts";
import { commandName } from "./command-name.ts";
import { Failure, UsageError } from "./failure.ts";
import { isAtHead, reachHead } from "./head-side.ts";
import { claimJob, hasEnded, isJobId, type JobFile, jobLog, readJob, readJobs, stopJob } from "./job-files.ts";
import { jobGraceMs, type SupervisorConfig, supervisorVariable } from "./job-supervisor.ts";
import { say, sayJson, table, timeText } from "./output.ts";
import { until } from "./wait-until.ts";

export interface SubmitFlags extends ClusterFlags {
  readonly submissionId?: string;
  readonly workingDir?: string;
  readonly runtimeEnvJson?: string;
  /** False with --no-wait. */
  readonly wait: boolean;
}

interface LogPart {
  readonly text: string;
  readonly next: number;
  readonly job: JobFile;
}

/** The operations, wherever the head is. */
interface Jobs {
  submit(config: Omit<SupervisorConfig, "sessionDir" | "nodeId">): Promise<JobFile>;
  find(id: string): Promise<JobFile>;
  list(): Promise<readonly JobFile[]>;
  logs(id: string, offset: number): Promise<LogPart>;
  stop(id: string): Promise<JobFile>;
}

/** Milliseconds between looks at a job's log. */
const followMs = 200;
const remoteFollowMs = 1_000;
const supervisorStartMs = 30_000;
/** Bytes of a log read at once. */
const logPartBytes = 1024 * 1024;

/** Exit code: the outcome of the job when it is waited for. */
export async function submitJob(command: readonly string[], flags: SubmitFlags): Promise<number> {
  if (command.length === 0) throw new UsageError("Cannot submit a job without a command: put it behind --");
  const submissionId = flags.submissionId || `job-${randomBytes(6).toString("hex")}`;
  if (!isJobId(submissionId))
    throw new UsageError(`Cannot use '${submissionId}' as --submission-id: use letters, digits, '.', '_' and '-'`);
  const env = readEnv(flags.runtimeEnvJson);
  // One word is a shell's line, several are quoted so that they stay what they are.
  const entrypoint = command.length === 1 ? command[0] : command.map(quoted).join(" ");
  const workingDir = resolve(flags.workingDir || env.workingDir || ".");
  return withJobs(flags, async (jobs, atHead) => {
    const job = await jobs.submit({ submissionId, entrypoint, workingDir, env: env.variables });
    if (!flags.wait) {
      if (flags.json) sayJson(job);
      else say(`Job '${submissionId}' runs. Its output: ${commandName()} job logs --follow ${submissionId}`);
      return 0;
    }
    if (!flags.json) say(`Job '${submissionId}' runs.`);
    const end = await follow(jobs, submissionId, atHead, flags.json ? () => {} : (text) => process.stdout.write(text));
    if (flags.json) sayJson(end);
    else say(`Job '${submissionId}' ${end.state}${end.message === "" ? "" : `: ${end.message}`}`);
    return end.state === "SUCCEEDED" ? 0 : 1;
  });
}

export const jobStatus = (id: string, flags: ClusterFlags): Promise<number> =>
  withJobs(flags, async (jobs) => {
    const job = await jobs.find(id);
    if (flags.json) sayJson(job);
    else say(`Job '${id}' ${job.state}${job.message === "" ? "" : `: ${job.message}`}`);
    return 0;
  });

export const jobLogs = (id: string, flags: ClusterFlags & { follow?: boolean; offset?: string }): Promise<number> =>
  withJobs(flags, async (jobs, atHead) => {
    if (flags.json) sayJson(await jobs.logs(id, Number(flags.offset ?? 0)));
    else if (flags.follow) await follow(jobs, id, atHead, (text) => process.stdout.write(text));
    else await printAll(jobs, id);
    return 0;
  });

export const jobStop = (id: string, flags: ClusterFlags): Promise<number> =>
  withJobs(flags, async (jobs) => {
    const job = await jobs.stop(id);
    if (flags.json) sayJson(job);
    else say(`Job '${id}' ${job.state}`);
    return 0;
  });

export const jobList = (flags: ClusterFlags): Promise<number> =>
  withJobs(flags, async (jobs) => {
    const all = await jobs.list();
    if (flags.json) sayJson(all);
    else
      say(
        table(
          ["ID", "STATE", "STARTED", "ENDED", "EXIT", "ENTRYPOINT"],
          all.map((job) => [
            job.submissionId,
            job.state,
            timeText(job.startMs),
            timeText(job.endMs),
            job.exitCode,
            job.entrypoint,
          ]),
        ),
      );
    return 0;
  });

// -------------------------------------------------------------- where the head is

function withJobs<T>(flags: ClusterFlags, use: (jobs: Jobs, atHead: boolean) => Promise<T>): Promise<T> {
  return withCluster(flags, async (cluster) => {
    if (isAtHead(cluster)) return use(jobsHere(cluster), true);
    const head = await reachHead(cluster);
    try {
      return await use(
        {
          submit: ({ submissionId, entrypoint, workingDir, env }) =>
            head.ask(
              ["job", "submit", "--no-wait", "--submission-id", submissionId, "--working-dir", workingDir].concat([
                "--runtime-env-json",
                JSON.stringify({ envVars: env }),
                "--",
                entrypoint,
              ]),
            ),
          find: (id) => head.ask(["job", "status", id]),
          list: () => head.ask(["job", "list"]),
          logs: (id, offset) => head.ask(["job", "logs", id, "--offset", String(offset)]),
          stop: (id) => head.ask(["job", "stop", id]),
        },
        false,
      );
    } finally {
      await head.close();
    }
  });
}

function jobsHere(cluster: ClusterClient): Jobs {
  const { sessionDir } = cluster;
  const find = (id: string): JobFile => {
    const job = readJob(sessionDir, id);
    if (job === null)
      throw new Failure(
        `Cannot find job '${id}'; there are ${
          readJobs(sessionDir)
            .map((each) => each.submissionId)
            .join(", ") || "none"
        }`,
      );
    return job;
  };
  return {
    async submit(config) {
      if (!claimJob(sessionDir, config.submissionId))
        throw new Failure(`Cannot submit job '${config.submissionId}' as there is one of that id`);
      const { address, nodeId } = cluster.welcome;
      const env = {
        SHOAL_ADDRESS: address,
        SHOAL_TMPDIR: dirname(dirname(sessionDir)),
        SHOAL_JOB_ID: config.submissionId,
        ...config.env,
      };
      await startSupervisor({ ...config, sessionDir, nodeId, env });
      return find(config.submissionId);
    },
    find: async (id) => find(id),
    list: async () => readJobs(sessionDir),
    logs: async (id, offset) => {
      const job = find(id); // first: what is written until its end is in the part then
      return { ...readPart(jobLog(sessionDir, id), offset), job };
    },
    async stop(id) {
      find(id);
      if (!(await stopJob(sessionDir, id, jobGraceMs + 5_000)))
        throw new Failure(`Cannot stop job '${id}': its supervisor does not end it`);
      return find(id);
    },
  };
}

async function startSupervisor(config: SupervisorConfig): Promise<void> {
  const child = spawn(process.execPath, [process.argv[1], "job-supervisor"], {
    detached: true,
    stdio: ["ignore", "ignore", "pipe", "pipe"],
    env: { ...process.env, [supervisorVariable]: JSON.stringify(config) },
  });
  try {
    await running(child);
  } finally {
    for (const stream of [child.stderr, child.stdio[3]]) (stream as Socket | null)?.destroy();
    child.unref();
  }
}

function running(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = "";
    const timer = setTimeout(
      () => reject(new Failure(`Cannot start the job: nothing happened for ${supervisorStartMs} ms`)),
      supervisorStartMs,
    );
    child.stderr?.on("data", (chunk) => {
      said += String(chunk);
    });
    child.once("error", reject);
    child.once("close", (code) => reject(new Failure(`Cannot start the job: its supervisor ended with code ${code}\n${said}`)));
    child.stdio[3]?.once("data", () => {
      child.removeAllListeners("close");
      resolve();
    });
    child.once("close", () => clearTimeout(timer));
    child.stdio[3]?.once("data", () => clearTimeout(timer));
  });
}

// -------------------------------------------------------------- output

/** Prints what the job prints until it has ended; resolves with how. */
async function follow(jobs: Jobs, id: string, atHead: boolean, print: (text: string) => void): Promise<JobFile> {
  let offset = 0;
  let last: JobFile | null = null;
  await until(
    async () => {
      const part = await jobs.logs(id, offset);
      print(part.text);
      const more = part.next > offset;
      offset = part.next;
      last = part.job;
      return hasEnded(part.job) && !more;
    },
    Number.POSITIVE_INFINITY,
    atHead ? followMs : remoteFollowMs,
  );
  return last as unknown as JobFile;
}

async function printAll(jobs: Jobs, id: string): Promise<void> {
  for (let offset = 0; ; ) {
    const { text, next } = await jobs.logs(id, offset);
    process.stdout.write(text);
    if (next === offset) return;
    offset = next;
  }
}

function readPart(file: string, offset: number): { text: string; next: number } {
  let fd: number;
  try {
    fd = openSync(file, "r");
  } catch {
    return { text: "", next: offset };
  }
  try {
    const buffer = Buffer.alloc(logPartBytes);
    const read = readSync(fd, buffer, 0, logPartBytes, offset);
    const bytes = read - unfinished(buffer.subarray(0, read));
    return { text: buffer.toString("utf8", 0, bytes), next: offset + bytes };
  } finally {
    closeSync(fd);
  }
}

/** Bytes at the end that begin a character whose rest has not been read. */
function unfinished(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back];
    if ((byte & 0xc0) === 0x80) continue; // the middle of a character
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

function readEnv(text: string | undefined): { workingDir?: string; variables: Record<string, string> } {
  if (!text) return { variables: {} };
  try {
    const { workingDir, working_dir, envVars, env_vars } = JSON.parse(text) as Record<string, any>;
    return { workingDir: workingDir ?? working_dir, variables: envVars ?? env_vars ?? {} };
  } catch {
    throw new UsageError(`Cannot use '${text}' as --runtime-env-json: expected JSON such as '{"envVars": {"A": "1"}}'`);
  }
}

const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

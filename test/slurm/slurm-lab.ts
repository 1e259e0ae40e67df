/**
 * A real Slurm on lab hosts: slurmctld (and munged) on host `ctl`, one slurmd on each of node1..nodeN. The daemons run in the foreground
 * under the test, their files are in the lab's shared directory, nothing in /etc is read or written. Jobs are submitted on `ctl`, as on
 * a login node.
 *
 * Processes are tracked by parentage (proctrack/linuxproc): what a job puts into the background escapes Slurm's own clean-up, so what
 * ends is what our runtime ends itself.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "../lab/command.ts";
import { isCommand, Lab, type LabOptions, labSupported } from "../lab/lab.ts";
import type { LabHost } from "../lab/lab-host.ts";
import { waitFor } from "../support/wait-for.ts";

export interface SlurmOptions extends LabOptions {
  nodes?: number;
  /** CPUs that each node claims; may exceed what the machine has. */
  cpus?: number;
  /** CPUs of single nodes that differ. */
  cpusOf?: Readonly<Record<string, number>>;
  /** Seconds between SIGTERM and SIGKILL at a cancel or time limit. */
  killWaitSeconds?: number;
  /** Seconds of silence before a node counts as down. */
  nodeTimeoutSeconds?: number;
}

export interface Job {
  readonly id: number;
  /** PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, TIMEOUT, NODE_FAIL, ... */
  readonly state: string;
  readonly exitCode: string;
  readonly nodes: string;
}

const daemons = ["slurmctld", "slurmd", "munged", "sbatch", "srun", "scontrol", "scancel", "squeue", "sinfo"];
const endStates = ["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL"];
/** Between two looks at Slurm's state: each starts a command. */
const lookEveryMs = 150;
const forever = 2 ** 31 - 1;

/** Why there can be no Slurm on this machine, or null when there can. */
export function slurmSupported(): string | null {
  const missing = daemons.find((name) => !isCommand(name));
  return labSupported() ?? (missing === undefined ? null : `needs the command '${missing}'`);
}

export class SlurmLab implements AsyncDisposable {
  readonly lab: Lab;
  /** The login node, which also runs the controller. */
  readonly login: LabHost;
  readonly nodes: readonly LabHost[];
  /** Shared by all hosts; jobs are submitted here. */
  readonly workDir: string;
  readonly #dir: string;
  readonly #daemons = new Map<string, Command>();

  private constructor(lab: Lab) {
    this.lab = lab;
    this.login = lab.host("ctl");
    this.nodes = lab.hosts.filter(({ name }) => name !== "ctl");
    this.#dir = join(lab.shared, "slurm");
    this.workDir = join(lab.shared, "home", "work");
  }

  static async up(options: SlurmOptions = {}): Promise<SlurmLab> {
    const names = Array.from({ length: options.nodes ?? 3 }, (_, index) => `node${index + 1}`);
    const lab = await Lab.up(["ctl", ...names], options);
    const slurm = new SlurmLab(lab);
    try {
      await slurm.#start(options);
    } catch (error) {
      const logs = slurm.logs();
      await lab.destroy();
      throw new Error(`Slurm did not start: ${(error as Error).message}\n${logs}`);
    }
    return slurm;
  }

  /** Submits a script, given by its path or its text, and returns the job's id. */
  async sbatch(script: { path: string } | { text: string }, args: readonly string[] = [], env: Record<string, string> = {}) {
    const text = "path" in script ? readFileSync(script.path, "utf8") : script.text;
    const said = await this.login.must(["sbatch", "--parsable", "--output=job-%j.out", ...args], {
      cwd: this.workDir,
      env: { ...this.env, ...env },
      input: text,
    });
    return Number(said.trim().split(";")[0]);
  }

  async scancel(...args: readonly string[]): Promise<void> {
    await this.login.must(["scancel", ...args], { env: this.env });
  }

  async job(id: number): Promise<Job> {
    const line = await this.login.must(["scontrol", "--oneliner", "show", "job", String(id)], { env: this.env });
    const field = (name: string) => new RegExp(`(?:^|\\s)${name}=(\\S*)`).exec(line)?.[1] ?? "";
    return { id, state: field("JobState"), exitCode: field("ExitCode"), nodes: field("NodeList") };
  }

  /** Waits until the job is in one of the states; fails when it ended in another, telling its output. */
  async reached(id: number, states: readonly string[], timeoutMs = 60_000): Promise<Job> {
    const reached = async () => {
      const job = await this.job(id);
      return states.includes(job.state) || endStates.includes(job.state) ? job : null;
    };
    const job = await waitFor(`job ${id} to be ${states.join(" or ")}`, reached, timeoutMs, lookEveryMs).catch((error) => {
      throw new Error(`${(error as Error).message}\n${this.output(id)}`);
    });
    if (!states.includes(job.state))
      throw new Error(`Job ${id} is ${job.state} (exit code ${job.exitCode}) and not ${states.join(" or ")}\n${this.output(id)}`);
    return job;
  }

  /** Waits for the job's end, whatever it is. */
  ended(id: number, timeoutMs = 60_000): Promise<Job> {
    return this.reached(id, endStates, timeoutMs);
  }

  /** Waits until the job's output holds or matches `text`. */
  async printed(id: number, text: string | RegExp, timeoutMs = 60_000): Promise<RegExpMatchArray> {
    const match = () => this.output(id).match(typeof text === "string" ? escaped(text) : text);
    const seen = async () => match() ?? (endStates.includes((await this.job(id)).state) ? "ended" : null);
    await waitFor(`job ${id} to print ${text}`, seen, timeoutMs, lookEveryMs).catch((error) => {
      throw new Error(`${(error as Error).message}\n${this.output(id)}`);
    });
    const found = await waitFor(`the output of job ${id} to hold ${text}`, match, 2_000).catch(() => null);
    if (found === null) throw new Error(`Job ${id} ended without printing ${text}\n${this.output(id)}`);
    return found;
  }

  /** What the job has printed until now. */
  output(id: number): string {
    try {
      return readFileSync(join(this.workDir, `job-${id}.out`), "utf8");
    } catch {
      return ""; // it has not started
    }
  }

  /** The environment of Slurm's commands. */
  get env(): Record<string, string> {
    return { SLURM_CONF: join(this.#dir, "slurm.conf") };
  }

  /** Starts slurmd on a node that was booted again. */
  async startNode(node: LabHost): Promise<void> {
    mkdirSync(join(this.#dir, "spool", node.name), { recursive: true });
    this.#daemons.set(node.name, node.start(["slurmd", "-D", "-N", node.name], { env: this.env, timeoutMs: forever }));
  }

  /** Waits until every node is idle, so that no job has left anything to Slurm. */
  async idle(timeoutMs = 30_000): Promise<void> {
    const states = async () => (await this.login.must(["sinfo", "-h", "-N", "-o", "%T"], { env: this.env })).trim().split("\n");
    await waitFor(
      "all nodes to be idle",
      async () => (await states()).every((state) => state === "idle"),
      timeoutMs,
      lookEveryMs,
    );
  }

  /** The ends of the daemons' logs. */
  logs(): string {
    return [...this.#daemons].map(([name, { stderr }]) => `== ${name}\n${stderr.slice(-1_500)}`).join("\n");
  }

  destroy(): Promise<void> {
    return this.lab.destroy();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy();
  }

  async #start(options: SlurmOptions): Promise<void> {
    for (const dir of ["state", "spool", "munge"]) mkdirSync(join(this.#dir, dir), { recursive: true, mode: 0o755 });
    mkdirSync(this.workDir, { recursive: true });
    writeFileSync(join(this.#dir, "slurm.conf"), this.#config(options));
    await this.#startMunge();
    const controller = this.login.start(["slurmctld", "-D"], { env: this.env, timeoutMs: forever });
    this.#daemons.set("slurmctld", controller);
    await Promise.all(this.nodes.map((node) => this.startNode(node)));
    const answers = async () => (await this.login.run(["scontrol", "ping"], { env: this.env })).stdout.includes("UP");
    await waitFor("slurmctld to answer", async () => controller.closed || (await answers()), 20_000, lookEveryMs);
    await this.idle();
  }

  /** One munged serves all hosts: its socket is a file that they share. */
  async #startMunge(): Promise<void> {
    const munge = join(this.#dir, "munge");
    writeFileSync(join(munge, "key"), crypto.getRandomValues(new Uint8Array(128)), { mode: 0o600 });
    const munged = this.login.start(
      [
        ...["munged", "--foreground", "--force"],
        ...["key-file", "socket", "pid-file", "seed-file"].map((name) => `--${name}=${join(munge, name.split("-")[0])}`),
        `--log-file=${join(munge, "log")}`,
      ],
      { timeoutMs: forever },
    );
    this.#daemons.set("munged", munged);
    const encodes = async () => (await this.login.run(["munge", "-n", `--socket=${join(munge, "socket")}`])).code === 0;
    await waitFor("munged to answer", async () => munged.closed || (await encodes()), 10_000, lookEveryMs);
  }

  #config(options: SlurmOptions): string {
    const dir = this.#dir;
    const nodes = this.nodes.map(({ name, address }) => {
      const cpus = options.cpusOf?.[name] ?? options.cpus ?? 2;
      return `NodeName=${name} NodeAddr=${address} CPUs=${cpus} RealMemory=2000 State=UNKNOWN`;
    });
    return `
ClusterName=lab
SlurmctldHost=ctl(${this.login.address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=${dir}/munge/socket
StateSaveLocation=${dir}/state
SlurmdSpoolDir=${dir}/spool/%n
SlurmctldPidFile=/tmp/slurmctld.pid
SlurmdPidFile=/tmp/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
MailProg=/bin/true
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
KillWait=${options.killWaitSeconds ?? 5}
SlurmdTimeout=${options.nodeTimeoutSeconds ?? 15}
ReturnToService=2
MessageTimeout=10
TCPTimeout=2
${nodes.join("\n")}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE OverSubscribe=NO State=UP
`;
  }
}

function escaped(text: string): RegExp {
  return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
}

/** One host of a lab: what runs in it, and what can happen to a machine. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isRunning } from "../support/processes.ts";
import { waitFor } from "../support/wait-for.ts";
import { type Command, type CommandOptions, type CommandResult, childrenOf, mustRun, startCommand } from "./command.ts";
import { endAnchor, type LabNetwork, startAnchor } from "./lab-network.ts";

export interface HostPlan {
  readonly name: string;
  readonly address: string;
  /** Further addresses, e.g. an IPv6 one. */
  readonly addresses: readonly string[];
  readonly number: number;
  /** The host's /etc/hosts. */
  readonly hosts: string;
  /** Size of /dev/shm as mount(8) takes it. */
  readonly shm: string;
  /** The environment that every command starts with. */
  readonly env: Readonly<Record<string, string>>;
  /** The directory that stays visible even when it lies below /tmp. */
  readonly keep: string;
}

export class LabHost {
  readonly name: string;
  readonly address: string;
  readonly #plan: HostPlan;
  readonly #network: LabNetwork;
  #anchor: Command | undefined;
  #init: Command | undefined;
  #initPid = 0;
  readonly #commands = new Set<Command>();

  /** @internal Hosts are made by `Lab.up`. */
  constructor(plan: HostPlan, network: LabNetwork) {
    this.name = plan.name;
    this.address = plan.address;
    this.#plan = plan;
    this.#network = network;
  }

  /** Switches the host on; after a power-off with a new kernel state, after a crash with the old one. */
  async boot(): Promise<void> {
    if (this.#init !== undefined) return;
    if (this.#anchor === undefined) {
      this.#anchor = await startAnchor(this.#plan.env);
      await this.#network.plug(this.name, this.#anchor, [this.address, ...this.#plan.addresses], this.#plan.number);
    }
    const init = startCommand(
      [
        ...["nsenter", `--net=/proc/${this.#anchor.pid}/ns/net`, "--"],
        ...["unshare", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"],
        ...["bash", join(import.meta.dirname, "host-init.sh"), this.name, this.#plan.shm, this.#plan.keep],
      ],
      { env: { ...this.#plan.env, LAB_HOSTS: this.#plan.hosts }, timeoutMs: 2 ** 31 - 1 },
    );
    this.#init = init;
    await init.printed("ready");
    this.#initPid = childrenOf(init.pid)[0];
  }

  /** True while the host is switched on. */
  get isUp(): boolean {
    return this.#init !== undefined;
  }

  /** Starts a command in the host. It dies with the test; what it puts into the background stays until the host ends. */
  start(command: readonly string[], options: CommandOptions = {}): Command {
    if (this.#init === undefined) throw new Error(`Cannot run '${command[0]}' on ${this.name} as the host is off`);
    const started = startCommand(
      [
        ...["nsenter", "--target", String(this.#initPid), "--net", "--uts", "--ipc", "--mount", "--pid", "--"],
        ...["setpriv", "--pdeathsig", "KILL", "--"],
        ...["sh", "-c", 'cd "$0" && exec "$@"', options.cwd ?? "/", ...command],
      ],
      { ...options, cwd: "/", env: { ...this.#plan.env, ...options.env } },
    );
    this.#commands.add(started);
    const forget = () => this.#commands.delete(started);
    started.exited.then(forget, forget);
    return started;
  }

  /** Runs a command in the host to its end. Does not judge its exit code. */
  run(command: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return this.start(command, { input: "", ...options }).exited;
  }

  /** Runs a command that must succeed and returns what it printed. */
  async must(command: readonly string[], options: CommandOptions = {}): Promise<string> {
    const { stdout, stderr, code, signal } = await this.run(command, options);
    if (code !== 0)
      throw new Error(`'${command.join(" ")}' failed on ${this.name} (${signal ?? `exit code ${code}`}): ${stderr}${stdout}`);
    return stdout;
  }

  /** Signals a command in the host; the process outside that brought it in passes nothing on. */
  signal(command: Command, signal: NodeJS.Signals): void {
    for (const pid of childrenOf(command.pid)) process.kill(pid, signal);
  }

  /** A file of the host as seen from outside, also of its private /tmp. */
  path(path: string): string {
    return join(`/proc/${this.#initPid}/root`, path);
  }

  /** Pulls the cable: both ends lose the carrier. */
  cut(): Promise<void> {
    return this.#network.setLink(this.name, false);
  }
  /** Loses every packet while the link looks fine. */
  blackhole(): Promise<void> {
    return this.#network.setBlackhole(this.name, true);
  }
  /** Loses what goes from this host to another; what comes back arrives. */
  loseTo(other: LabHost): Promise<void> {
    return this.#network.setOneWay(this.name, other.name, true);
  }
  /** Separates two hosts that both still reach the others. */
  async partition(other: LabHost): Promise<void> {
    await this.loseTo(other);
    await other.loseTo(this);
  }
  loss(percent: number): Promise<void> {
    return this.#network.setLoss(this.name, percent);
  }
  /** Limits each direction, e.g. "10mbit". */
  rate(rate: string): Promise<void> {
    return this.#network.setRate(this.name, this.#anchor!, rate);
  }
  delay(delayMs: number): Promise<void> {
    return this.#network.setDelay(this.name, delayMs);
  }
  /** Makes the host's wire as new. */
  heal(): Promise<void> {
    return this.#network.heal(this.name, this.#anchor!);
  }

  /** Stops every process; the kernel goes on accepting connections and acknowledging bytes. */
  async freeze(): Promise<void> {
    const running = [...this.#commands];
    await this.#signalAll("STOP");
    // nsenter(1) stops itself when its child is stopped. Until it has, continuing it would be too early.
    await waitFor(`the commands on ${this.name} to stop`, () => running.every(({ pid }) => !isRunning(pid) || isStopped(pid)));
  }

  async thaw(): Promise<void> {
    await this.#signalAll("CONT");
    for (const { child } of this.#commands) child.kill("SIGCONT");
  }

  /** Kills every process. The kernel lives and closes their connections, which peers see at once. */
  async crash(): Promise<void> {
    const init = this.#init;
    if (init === undefined) return;
    this.#init = undefined;
    const running = [...this.#commands];
    process.kill(this.#initPid, "SIGKILL");
    const ended = () => {
      for (const { child, closed } of running) if (!closed) child.kill("SIGCONT"); // those stopped by a freeze
      return init.closed && running.every(({ closed }) => closed);
    };
    await waitFor(`${this.name} to end`, ended, 10_000);
  }

  /** Takes the power: first the link, then every process and the network's state. Peers see nothing at all. */
  async powerOff(): Promise<void> {
    if (this.#anchor === undefined) return;
    await this.#network.setLink(this.name, false);
    await this.crash();
    await this.#network.unplug(this.name);
    await endAnchor(this.#anchor);
    this.#anchor = undefined;
  }

  /** `kill -1` inside reaches every process of the host but its process 1 and the sender, forks under way included. */
  async #signalAll(signal: "STOP" | "CONT"): Promise<void> {
    await mustRun(
      ["nsenter", "--target", String(this.#initPid), "--pid", "--", "sh", "-c", `kill -${signal} -1 2>/dev/null || true`],
      { env: this.#plan.env },
    );
  }
}

function isStopped(pid: number): boolean {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  return stat.slice(stat.lastIndexOf(")") + 2)[0] === "T";
}

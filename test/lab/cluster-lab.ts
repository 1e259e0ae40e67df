/**
 * A Shoal cluster on lab hosts: a node daemon per host by `shoal start`, and drivers anywhere. What tests steer a driver and its tasks with
 * is a *board*: a directory that all hosts share, where tasks pin notes and for whose notes they wait. It works whatever network is cut.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { type Account, leftOn, makeAccount } from "../slurm/account.ts";
import { waitFor } from "../support/wait-for.ts";
import type { Command } from "./command.ts";
import { Lab, type LabOptions } from "./lab.ts";
import type { LabHost } from "./lab-host.ts";

export const headPort = 6379;

export class ClusterLab implements AsyncDisposable {
  readonly lab: Lab;
  readonly workDir: string;
  readonly board: string;
  readonly account: Account;
  /** The daemons' own commands, by host. */
  readonly daemons = new Map<string, Command>();

  private constructor(lab: Lab) {
    this.lab = lab;
    this.workDir = join(lab.shared, "home", "work");
    this.board = join(lab.shared, "board");
    for (const dir of [this.workDir, this.board]) mkdirSync(dir, { recursive: true });
    this.account = makeAccount(join(lab.shared, "home"), this.workDir);
  }

  /** A head on the first host and nodes on `nodes - 1` more, each with two CPUs; further hosts are without a node. */
  static async up(names: readonly string[], nodes: number, options: LabOptions = {}): Promise<ClusterLab> {
    const cluster = new ClusterLab(await Lab.up(names, options));
    try {
      const hosts = cluster.lab.hosts.slice(0, nodes);
      await cluster.startHead(hosts[0]);
      await Promise.all(hosts.slice(1).map((host) => cluster.startNode(host)));
    } catch (error) {
      await cluster.destroy();
      throw error;
    }
    return cluster;
  }

  get head(): LabHost {
    return this.lab.hosts[0];
  }
  get address(): string {
    return `${this.head.address}:${headPort}`;
  }

  startHead(host: LabHost): Promise<Command> {
    return this.#startDaemon(host, ["--head", `--node-ip-address=${host.address}`, `--port=${headPort}`]);
  }
  startNode(host: LabHost): Promise<Command> {
    return this.#startDaemon(host, [`--address=${this.address}`]);
  }

  async #startDaemon(host: LabHost, args: readonly string[]): Promise<Command> {
    const daemon = host.start(["shoal", "start", ...args, "--num-cpus=2", "--block"], {
      env: this.account.env,
      timeoutMs: 2 ** 31 - 1,
    });
    this.daemons.set(host.name, daemon);
    await daemon.printed(startedLine);
    return daemon;
  }

  /** Starts a program of test/lab/programs on a host. */
  drive(host: LabHost, program: string, env: Readonly<Record<string, string>> = {}): Command {
    const file = join(import.meta.dirname, "programs", program);
    copyFileSync(file, join(this.workDir, basename(file)));
    return host.start(["node", basename(file)], {
      cwd: this.workDir,
      env: { ...this.account.env, BOARD: this.board, ...env },
      timeoutMs: 180_000,
    });
  }

  /** Notes on the board whose names match, without their order. */
  notes(pattern: RegExp): string[] {
    return readdirSync(this.board).filter((name) => pattern.test(name));
  }
  note(name: string): string {
    return readFileSync(join(this.board, name), "utf8");
  }
  pin(name: string): void {
    writeFileSync(join(this.board, name), "");
  }
  async pinned(pattern: RegExp, count = 1, timeoutMs = 60_000): Promise<string[]> {
    await waitFor(`${count} notes like ${pattern}`, () => this.notes(pattern).length >= count, timeoutMs).catch((error) => {
      throw new Error(`${(error as Error).message}; there are ${readdirSync(this.board).join(" ")}`);
    });
    return this.notes(pattern);
  }

  /** Waits until a host has no process, socket or shared memory of the runtime any more. */
  async clean(host: LabHost, timeoutMs = 30_000): Promise<void> {
    let left: string[] = [];
    const isClean = async () => {
      left = await leftOn(host);
      return left.length === 0;
    };
    await waitFor(`nothing to be left on ${host.name}`, isClean, timeoutMs, 200).catch((error) => {
      throw new Error(`${(error as Error).message}\n${left.join("\n")}\n${this.daemons.get(host.name)?.stderr}`);
    });
  }

  async destroy(): Promise<void> {
    await this.lab.destroy();
    if (existsSync(this.lab.shared)) throw new Error(`${this.lab.shared} is left`);
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy();
  }
}

/** What `shoal start --block` says when its node is a member. */
const startedLine = /Node \w+ runs at/;

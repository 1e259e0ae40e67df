/**
 * One run: drivers on the nodes of a cluster, their daemons, a head and their workers on a simulated network, with faults for a while; then what must hold in the end.
 *
 * Checked throughout: the invariants of every machine after every step; no lease on a worker that runs another; actor calls start in
 * order; every value is what it must be, and where nothing fails there is no error. Checked at the end: every program came to its end;
 * no object, task, lease, segment, group or ref is left when nobody holds any; no actor lives twice; all nodes see the same cluster; all resources are free when all
 * drivers have gone.
 */
import { type JobId, type NodeId, nodeKeyOf } from "../src/base/ids.ts";
import type { Resources } from "../src/wire/messages.ts";
import { NodeKind } from "../src/wire/node-messages.ts";
import { Daemon } from "./daemon.ts";
import { Driver } from "./driver.ts";
import { checkAllEnded, checkNothingHeld } from "./final-checks.ts";
import { Network } from "./network.ts";
import { OrderChecks } from "./order-checks.ts";
import { type Bug, check, isDaemon, noCounts, type Shared } from "./simulation.ts";
import { World } from "./world.ts";

export interface RunOptions {
  readonly seed: number;
  readonly bug?: Bug;
  readonly keepLog?: boolean;
}

export interface RunReport {
  /** Equal for equal runs. */
  readonly fingerprint: string;
  readonly lines: readonly string[] | null;
  /** Values compared, and how many of them were errors that faults explain. */
  readonly checked: number;
  readonly failed: number;
  readonly faults: number;
  readonly virtualMs: number;
}

/** A run whose programs are not through by then hangs. */
const limitMs = 600_000;
/** With nobody holding anything, everything is gone after this long: idle leases return, workers end. */
const settleMs = 60_000;

/** Connections break in the middle of something until then. */
const faultsEndMs = 60_000;
/** A node that joins again later than this may have been given up: its next try may take a few seconds. */
const tieBrokenMsMax = 4_000;

export const nodeIdOf = (number: number): NodeId => `n${String(number).padStart(5, "0")}` as NodeId;

export class Run {
  readonly world: World;
  readonly shared: Shared;
  readonly drivers: Driver[] = [];
  faults = 0;
  /** Chance that a message between the head and a node finds their connection broken. */
  private tieBreaks = 0;
  private parts = 0;

  constructor({ seed, bug = "none", keepLog = false }: RunOptions) {
    this.world = new World(seed, keepLog);
    const { random } = this.world;
    const cpus = random.pick([1, 1, 2, 2, 4, 1.5]);
    const ids = new Map<string, number>();
    const newId = (prefix: string): string => {
      const number = (ids.get(prefix) ?? 0) + 1;
      ids.set(prefix, number);
      return `${prefix}${number}`;
    };
    const network = new Network(this.world, random.pick([0.2, 2, 30]));
    const faulty = random.chance(0.6);
    const nodes = new Map<NodeId, Daemon>();
    const onReserve = (nodeId: NodeId): void => this.reserving(nodeId);
    const onOrder = (nodeId: NodeId, kind: number): void => this.ordering(nodeId, kind);
    this.shared = {
      world: this.world,
      network,
      nodes,
      headId: nodeIdOf(1),
      bug,
      faulty,
      cpus,
      large: false,
      counts: noCounts(),
      newId,
      onReserve,
      onOrder,
      broken: new Set(),
    };
    const count = random.pick([1, 1, 2, 3, 4, 6]);
    this.world.log("run", `of seed ${seed}: ${count} nodes, ${cpus} CPUs, ${faulty ? "with" : "without"} faults`);
    for (let number = 1; number <= count; number++) this.addNode(number, number === 1 ? cpus : random.pick([1, 2, 3]));
  }

  private addNode(number: number, cpus: number): void {
    const { random } = this.world;
    const resources: Resources = { CPU: cpus, disk: 2 };
    const daemon = new Daemon(this.shared, nodeIdOf(number), resources);
    this.shared.nodes.set(daemon.nodeId, daemon);
    this.shared.network.add(daemon);
    if (number === 1) daemon.start();
    else this.world.after(random.chance(0.7) ? random.next() * 10 : random.next() * 3_000, () => daemon.alive && daemon.start());
  }

  get head(): Daemon {
    return this.shared.nodes.get(this.shared.headId) as Daemon;
  }

  private get living(): Daemon[] {
    return [...this.shared.nodes.values()].filter((daemon) => daemon.alive);
  }

  go(): RunReport {
    const { world } = this;
    const count = 1 + world.random.int(3);
    let planned = count;
    for (let i = 0; i < count; i++)
      world.after(world.random.next() * 200, () => {
        if (!this.startDriver()) planned--;
      });
    if (this.shared.faulty) this.planFaults();
    new OrderChecks(this.shared).start();
    const isOver = (): boolean =>
      this.drivers.length === planned && world.now > 200 && this.drivers.every((driver) => driver.done || !driver.alive);
    const over = world.run(isOver, limitMs);
    check(over, () => `programs hang: ${this.hanging()}`);
    const overMs = world.now;
    world.run(() => false, overMs + settleMs);
    checkNothingHeld(this.shared, this.drivers);
    for (const driver of this.drivers) this.shared.network.kill(driver.id);
    world.run(() => false, overMs + 2 * settleMs);
    checkAllEnded(this.shared);
    const sum = (of: (driver: Driver) => number): number => this.drivers.reduce((total, driver) => total + of(driver), 0);
    return {
      fingerprint: world.fingerprint,
      lines: world.lines,
      checked: sum((d) => d.checked),
      failed: sum((d) => d.failed),
      faults: this.faults,
      virtualMs: overMs,
    };
  }

  /** On any node that is a member; false when there was none to start it on. */
  private startDriver(): boolean {
    const { random } = this.world;
    const members = this.living.filter((daemon) => daemon.head !== null || daemon.tie?.joined === true);
    const node = random.chance(0.5) ? this.head : random.pick(members);
    const id = this.shared.newId(`${node.nodeId}d`);
    const driver = new Driver(this.shared, node, id, `job-${id}` as JobId);
    this.drivers.push(driver);
    this.shared.network.add(driver);
    const info = { jobId: driver.jobId, namespace: "", runtimeEnv: null, driverCwd: "", driverNode: node.nodeId };
    node.toHead([NodeKind.JobStarted, info, 0]);
    node.addDriver(id, driver.jobId, random.int(3));
    driver.start(random.int(1_000_000_000));
    return true;
  }

  // -------------------------------------------------------------- faults

  private planFaults(): void {
    const { random } = this.world;
    const failures = random.pick([0, 0, 0.2]);
    for (const daemon of this.living) daemon.startFailures = failures;
    const count = 1 + random.int(6);
    this.tieBreaks = random.pick([0, 0.02, 0.1]);
    for (let i = 0; i < count; i++) this.world.after(random.next() * 2500, () => this.fault());
  }

  private fault(): void {
    const { random } = this.world;
    const kind = random.int(17);
    const daemon = random.pick(this.living);
    const workers = [...daemon.workers.keys()];
    this.faults++;
    if (kind < 4 && workers.length > 0) daemon.kill(random.pick(workers), { intended: false });
    else if (kind === 4 && workers.length > 0) daemon.kill(random.pick(workers), { intended: false, outOfMemory: true });
    else if (kind === 5) this.shared.network.kill(random.pick(this.drivers)?.id ?? "");
    else if (kind < 8) this.loseSegment(daemon);
    else if (kind < 10) this.cutConnection();
    else if (daemon !== this.head && kind < 14) this.nodeFault(daemon);
    else if (daemon !== this.head) this.breakTie(daemon);
  }

  /** The head's node has none of these: what follows its end is another test's. */
  private nodeFault(daemon: Daemon): void {
    const { random } = this.world;
    const { network } = this.shared;
    const kind = random.int(3);
    if (kind === 0) return daemon.end("killed");
    network.separate(daemon.id, ++this.parts);
    if (kind === 1) return daemon.end("its machine is lost"); // nobody hears of it
    const apartMs = random.chance(0.5) ? random.next() * 9_000 : 10_000 + random.next() * 10_000;
    this.world.after(apartMs, () => {
      network.separate(daemon.id, 0);
      network.flow();
    });
  }

  /** The connection between the head and a node breaks, with what is under way on it, and is made again soon enough. */
  private breakTie(daemon: Daemon): void {
    const { random } = this.world;
    const { network } = this.shared;
    this.shared.broken.add(daemon.nodeId);
    network.cutNodes(this.head.id, daemon.id);
    if (random.chance(0.5)) return;
    network.separate(daemon.id, ++this.parts);
    this.world.after(random.next() * tieBrokenMsMax, () => {
      network.separate(daemon.id, 0);
      network.flow();
    });
  }

  /** In the middle of something: what is said now and for a moment after is lost, and what was said last perhaps. */
  private ordering(nodeId: NodeId, kind: number): void {
    const { random } = this.world;
    if (this.tieBreaks === 0 || kind === NodeKind.Heartbeat || kind === NodeKind.Nodes) return;
    if (this.world.now > faultsEndMs || !random.chance(this.tieBreaks)) return;
    const daemon = this.shared.nodes.get(nodeId) as Daemon;
    if (!daemon.alive || this.shared.network.separated(daemon.id, this.head.id)) return;
    this.faults++;
    this.breakTie(daemon);
  }

  /** Between the two phases of a group. */
  private reserving(nodeId: NodeId): void {
    const { random } = this.world;
    const daemon = this.shared.nodes.get(nodeId) as Daemon;
    if (daemon === this.head || !random.chance(0.1)) return;
    this.faults++;
    daemon.after(random.next(), () => daemon.end("dies while it reserves"));
  }

  private loseSegment(daemon: Daemon): void {
    const { names } = daemon.store;
    if (names.length === 0) return;
    const name = this.world.random.pick(names);
    this.world.log(daemon.id, `loses ${name}`);
    daemon.store.lose(name);
  }

  /** Not a process from its own daemon, and not daemons from each other: those end with one of them. */
  private cutConnection(): void {
    const pairs = this.shared.network
      .pairs()
      .filter(
        ([a, b]) => a !== b && !(isDaemon(a) && isDaemon(b)) && !((isDaemon(a) || isDaemon(b)) && nodeKeyOf(a) === nodeKeyOf(b)),
      );
    if (pairs.length > 0) this.shared.network.cut(...this.world.random.pick(pairs));
  }

  private hanging(): string {
    return this.drivers
      .filter((driver) => driver.alive && !driver.done)
      .map(
        (driver) =>
          `${driver.id} waits for tasks ${[...driver.ownership.tasks.values()].map((task) => `${task.index} (${task.state})`).join(", ")}`,
      )
      .join("; ");
  }
}

/** Runs one seed. Throws what is wrong, naming the seed and the command that shows it. */
export function simulate(options: RunOptions): RunReport {
  const run = new Run(options);
  try {
    return run.go();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new SimulationFailed(
      `Seed ${options.seed} at ${run.world.now.toFixed(3)} ms: ${message}. See npm run sim -- --seed ${options.seed}`,
      run.world.lines,
      error,
    );
  }
}

export class SimulationFailed extends Error {
  override readonly name = "SimulationFailed";
  readonly lines: readonly string[] | null;

  constructor(message: string, lines: readonly string[] | null, cause: unknown) {
    super(message, { cause });
    this.lines = lines;
  }
}

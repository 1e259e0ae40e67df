/**
 * One run: drivers, a daemon and its workers on a simulated network, with faults for a while; then what must hold in the end.
 *
 * Checked throughout: the scheduler's and the registry's invariants after every step; no lease on a worker that runs another; actor calls start in
 * order; every value is what it must be, and where nothing fails there is no error. Checked at the end: every program came to its end;
 * no object, task, lease, segment or ref is left when nobody holds any; all resources are free when all drivers have gone.
 */
import type { JobId } from "../src/base/ids.ts";
import { availableResources, totalResources } from "../src/core/scheduler.ts";
import type { Resources } from "../src/wire/messages.ts";
import { Daemon } from "./daemon.ts";
import { Driver } from "./driver.ts";
import { Network } from "./network.ts";
import { type Bug, check, daemonId, type Shared } from "./simulation.ts";
import { SimStore } from "./value.ts";
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

export class Run {
  readonly world: World;
  readonly shared: Shared;
  readonly daemon: Daemon;
  readonly drivers: Driver[] = [];
  faults = 0;

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
    this.shared = { world: this.world, network, store: new SimStore(), bug, faulty: random.chance(0.6), cpus, newId };
    const resources: Resources = { CPU: cpus, disk: 2 };
    this.daemon = new Daemon(this.shared, resources);
    network.add(this.daemon);
    this.world.log("run", `of seed ${seed}: ${JSON.stringify(resources)}, ${this.shared.faulty ? "with" : "without"} faults`);
  }

  go(): RunReport {
    const { world } = this;
    const count = 1 + world.random.int(3);
    for (let i = 0; i < count; i++) world.after(world.random.next() * 200, () => this.startDriver());
    if (this.shared.faulty) this.planFaults();
    const isOver = (): boolean => this.drivers.length === count && this.drivers.every((driver) => driver.done || !driver.alive);
    const over = world.run(isOver, limitMs);
    check(over, () => `programs hang: ${this.hanging()}`);
    const overMs = world.now;
    world.run(() => false, overMs + settleMs);
    this.checkNothingHeld();
    for (const driver of this.drivers) this.shared.network.kill(driver.id);
    world.run(() => false, overMs + 2 * settleMs);
    this.checkAllEnded();
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

  private startDriver(): void {
    const id = this.shared.newId("d");
    const driver = new Driver(this.shared, id, `job-${id}` as JobId);
    this.drivers.push(driver);
    this.shared.network.add(driver);
    this.daemon.addDriver(id, driver.jobId, this.world.random.int(3));
    driver.start(this.world.random.int(1_000_000_000));
  }

  // -------------------------------------------------------------- faults

  private planFaults(): void {
    const { random } = this.world;
    this.daemon.startFailures = random.pick([0, 0, 0.2]);
    const count = 1 + random.int(6);
    for (let i = 0; i < count; i++) this.world.after(random.next() * 2500, () => this.fault());
  }

  private fault(): void {
    const { random } = this.world;
    const kind = random.int(10);
    const workers = [...this.daemon.workers.keys()];
    if (kind < 4 && workers.length > 0) this.daemon.kill(random.pick(workers), { intended: false });
    else if (kind === 4 && workers.length > 0) this.daemon.kill(random.pick(workers), { intended: false, outOfMemory: true });
    else if (kind === 5) this.shared.network.kill(random.pick(this.drivers)?.id ?? "");
    else if (kind < 8) this.loseSegment();
    else this.cutConnection();
    this.faults++;
  }

  private loseSegment(): void {
    const { names } = this.shared.store;
    if (names.length === 0) return;
    const name = this.world.random.pick(names);
    this.world.log("store", `loses ${name}`);
    this.shared.store.lose(name);
  }

  private cutConnection(): void {
    const pairs = this.shared.network.pairs().filter((pair) => !pair.includes(daemonId) && pair[0] !== pair[1]);
    if (pairs.length > 0) this.shared.network.cut(...this.world.random.pick(pairs));
  }

  // -------------------------------------------------------------- the end

  private hanging(): string {
    return this.drivers
      .filter((driver) => driver.alive && !driver.done)
      .map(
        (driver) =>
          `${driver.id} waits for tasks ${[...driver.ownership.tasks.values()].map((task) => `${task.index} (${task.state})`).join(", ")}`,
      )
      .join("; ");
  }

  private checkNothingHeld(): void {
    const processes = [...this.drivers, ...[...this.daemon.workers.values()].map((book) => book.process)];
    for (const { id, ownership, borrows, tasks, alive } of processes) {
      if (!alive) continue;
      const owned = [...ownership.owned.values()].map(
        (record) =>
          `${record.index} (${record.state}, ${record.localRefs} refs, ${record.taskUses} uses, ${record.lineageUses} lineage, borrowed by ${[...(record.borrowers?.keys() ?? [])].join(" ")})`,
      );
      check(ownership.tasks.size === 0, () => `${id} keeps tasks ${[...ownership.tasks.keys()].join(" ")}`);
      check(owned.length === 0, () => `${id} keeps objects that nobody holds: ${owned.join(", ")}`);
      check(ownership.borrowed.size === 0, () => `${id} keeps borrowed objects: ${[...ownership.borrowed.keys()].join(" ")}`);
      check(tasks.submitter.leases.size === 0, () => `${id} keeps leases it does not use`);
      check(borrows.quiet, () => `${id} waits for an owner's answer`);
    }
    // What a worker writes for an owner that has just died stays until the session ends.
    const segments = this.shared.store.names.filter((name) => this.shared.network.get(name.split(".")[0])?.alive === true);
    check(segments.length === 0, () => `segments are left: ${segments.join(" ")}`);
    check(
      this.daemon.leases.size === 0 && this.daemon.scheduler.leases.size === 0,
      () => `leases are left: ${[...this.daemon.scheduler.leases.keys()].join(" ")}`,
    );
    const alive = [...this.daemon.registry.actors.values()].filter((actor) => actor.state !== "DEAD");
    check(alive.length === 0, () => `actors without handles live: ${alive.map((actor) => actor.spec.actorId).join(" ")}`);
  }

  private checkAllEnded(): void {
    const { scheduler, workers } = this.daemon;
    check(workers.size === 0, () => `workers of ended jobs live: ${[...workers.keys()].join(" ")}`);
    const [available, total] = [JSON.stringify(availableResources(scheduler)), JSON.stringify(totalResources(scheduler))];
    check(available === total, () => `resources are not all free: ${available} of ${total}`);
    const { owners, leases, pools, jobs, actors, starts } = scheduler;
    for (const [name, left] of Object.entries({ owners, leases, pools, jobs, actors, starts }))
      check(left.size === 0, () => `the scheduler remembers ${left.size} ${name}`);
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

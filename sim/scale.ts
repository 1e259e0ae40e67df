/**
 * A cluster of a thousand nodes in one process: many actors placed at once, called, some nodes lost, the actors there started again elsewhere and called again.
 * Meanwhile the programs of ordinary runs, on some of the nodes: tasks that spill to other nodes, placement groups, refs that are borrowed over nodes. The
 * nodes' owners of those are not among those lost. The machines are those of every run; of whole structures only now and then a step is checked.
 */
import type { JobId, NodeId } from "../src/base/ids.ts";
import { NodeKind } from "../src/wire/node-messages.ts";
import type { Handle } from "./actor-callers.ts";
import { Daemon } from "./daemon.ts";
import { Driver } from "./driver.ts";
import { checkActorsOnce, checkAllEnded, checkViews } from "./final-checks.ts";
import { Network } from "./network.ts";
import { Owner, Scope } from "./owner.ts";
import { nodeIdOf } from "./simulate.ts";
import { type Counts, check, noCounts, type Shared } from "./simulation.ts";
import { World } from "./world.ts";

export interface ScaleOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly actors: number;
  readonly keepLog?: boolean;
}

export interface ScaleReport {
  readonly fingerprint: string;
  readonly lines: readonly string[] | null;
  /** Until every actor had answered, and until all had again after nodes were lost. */
  readonly firstMs: number;
  readonly againMs: number;
  readonly lostNodes: number;
  readonly restarts: number;
  /** Results that the programs compared. */
  readonly checked: number;
  readonly counts: Readonly<Counts>;
}

const joinMs = 2_000;
const limitMs = 300_000;
const settleMs = 30_000;
/** Share of the nodes that are lost. */
const lostShare = 0.01;
const events = 20_000_000;

class Caller extends Owner {
  readonly handles: Handle[] = [];
  readonly scope = new Scope(this);
  answered = 0;

  createActors(count: number): void {
    for (let i = 0; i < count; i++)
      this.handles.push(this.actors.create(this.scope, { maxRestarts: -1, lifetime: { CPU: 0.5 } }));
  }

  /** A call that may be repeated; it must be answered whatever becomes of the actor's node. */
  callAll(): void {
    this.answered = 0;
    const calls = new Scope(this);
    for (const handle of this.handles) {
      const result = this.actors.call(calls, handle, -1, null);
      this.get(calls, [result], ([outcome]) => {
        check(outcome.kind === "value", () => `${this.id} gets ${JSON.stringify(outcome)} from actor ${handle.actorId}`);
        if (++this.answered === this.handles.length) calls.release();
      });
    }
  }

  dropAll(): void {
    this.scope.release();
  }
}

export function simulateScale({ seed, nodes: count, actors, keepLog = false }: ScaleOptions): ScaleReport {
  const world = new World(seed, keepLog, events);
  const { random } = world;
  const nodes = new Map<NodeId, Daemon>();
  let serial = 0;
  const shared: Shared = {
    world,
    network: new Network(world, 2),
    nodes,
    headId: nodeIdOf(1),
    bug: "none",
    faulty: true,
    cpus: 16,
    large: true,
    counts: noCounts(),
    newId: (prefix) => `${prefix}${++serial}`,
    onReserve: () => {},
    onOrder: () => {},
    broken: new Set(),
  };
  for (let number = 1; number <= count; number++) addNode(shared, number);
  run(world, () => false, joinMs + 1_000);
  const callers = Array.from({ length: Math.max(1, Math.round(count / 50)) }, () => addCaller(shared));
  const share = Math.ceil(actors / callers.length);
  for (const [i, caller] of callers.entries()) caller.createActors(Math.min(share, actors - i * share));
  const drivers = Array.from({ length: Math.max(4, Math.round(count / 20)) }, () => addDriver(shared));
  const firstMs = callAll(world, callers);
  checkPlaced(shared, callers, actors);
  const lost = loseNodes(shared, [...callers, ...drivers]);
  const againMs = callAll(world, callers);
  const through = run(world, () => drivers.every((driver) => driver.done), limitMs);
  check(through, () => `the programs of ${drivers.filter(({ done }) => !done).map(({ id }) => id)} hang`);
  run(world, () => false, settleMs);
  checkPlaced(shared, callers, actors);
  checkActorsOnce(shared);
  checkViews(shared);
  const head = (nodes.get(shared.headId) as Daemon).head as NonNullable<Daemon["head"]>;
  const restarts = [...head.registry.actors.values()].reduce((sum, actor) => sum + actor.incarnation, 0);
  for (const caller of callers) caller.dropAll();
  run(world, () => false, settleMs);
  for (const { id } of [...callers, ...drivers]) shared.network.kill(id);
  run(world, () => false, settleMs);
  checkAllEnded(shared);
  const checked = drivers.reduce((sum, driver) => sum + driver.checked, 0);
  const { fingerprint, lines } = world;
  return { fingerprint, lines, firstMs, againMs, lostNodes: lost, restarts, checked, counts: shared.counts };

  function loseNodes({ network }: Shared, owners: readonly Owner[]): number {
    const homes = new Set(owners.map((owner) => owner.node));
    const candidates = [...nodes.values()].filter((daemon) => daemon.head === null && !homes.has(daemon));
    const wanted = Math.min(candidates.length, Math.max(1, Math.round(count * lostShare)));
    for (let i = 0; i < wanted; i++) {
      const [daemon] = candidates.splice(random.int(candidates.length), 1);
      if (random.chance(0.5)) network.separate(daemon.id, i + 1);
      daemon.end("lost");
    }
    return wanted;
  }
}

function run(world: World, until: () => boolean, ms: number): boolean {
  return world.run(until, world.now + ms);
}

function addNode(shared: Shared, number: number): void {
  const daemon = new Daemon(shared, nodeIdOf(number), { CPU: 16, disk: 2 });
  shared.nodes.set(daemon.nodeId, daemon);
  shared.network.add(daemon);
  if (number === 1) daemon.start();
  else shared.world.after(shared.world.random.next() * joinMs, () => daemon.start());
}

function addCaller(shared: Shared): Caller {
  return addProgram(shared, (node, id, jobId) => new Caller(shared, node, id, jobId));
}

function addDriver(shared: Shared): Driver {
  const driver = addProgram(shared, (node, id, jobId) => new Driver(shared, node, id, jobId));
  driver.start(shared.world.random.int(1_000_000_000));
  return driver;
}

function addProgram<P extends Owner>(shared: Shared, make: (node: Daemon, id: string, jobId: JobId) => P): P {
  const node = shared.world.random.pick([...shared.nodes.values()]);
  const id = shared.newId(`${node.nodeId}d`);
  const program = make(node, id, `job-${id}` as JobId);
  shared.network.add(program);
  const info = { jobId: program.jobId, namespace: "", runtimeEnv: null, driverCwd: "", driverNode: node.nodeId };
  node.toHead([NodeKind.JobStarted, info, 0]);
  node.addDriver(id, program.jobId, 0);
  return program;
}

/** Milliseconds until all have been answered. */
function callAll(world: World, callers: readonly Caller[]): number {
  const sinceMs = world.now;
  for (const caller of callers) caller.callAll();
  const all = run(world, () => callers.every((caller) => caller.answered === caller.handles.length), limitMs);
  check(
    all,
    () => `${callers.reduce((sum, { answered, handles }) => sum + handles.length - answered, 0)} calls are not answered`,
  );
  return world.now - sinceMs;
}

/** The programs' own actors come and go. */
function checkPlaced(shared: Shared, callers: readonly Caller[], actors: number): void {
  const owners = new Set(callers.map((caller) => caller.workerId));
  const head = (shared.nodes.get(shared.headId) as Daemon).head as NonNullable<Daemon["head"]>;
  const alive = [...head.registry.actors.values()].filter(
    ({ state, spec }) => state === "ALIVE" && owners.has(spec.ownerId),
  ).length;
  check(alive === actors, () => `${alive} of ${actors} actors are alive`);
}

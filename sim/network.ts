/**
 * Processes on nodes and the connections between them. A connection delivers in order in each direction, after a random delay; different ones
 * overtake each other. When it breaks, or a process dies, an arbitrary tail of what was under way is lost and the other side is told. Between nodes
 * that are separated nothing arrives, no word of an end either, until they are joined again.
 */
import { type NodeKey, nodeKeyOf } from "../src/base/ids.ts";
import type { AnyMessage } from "../src/wire/messages.ts";
import type { NodeMessage } from "../src/wire/node-messages.ts";
import { messageText } from "./message-text.ts";
import type { World } from "./world.ts";

export type SimMessage = AnyMessage | NodeMessage;

export interface SimProcess {
  readonly id: string;
  alive: boolean;
  /** Nothing is received before: the process computes without looking up. */
  busyUntilMs: number;
  receive(from: string, message: SimMessage): void;
  /** The connection to `peer` ended. */
  peerGone(peer: string): void;
}

interface Direction {
  readonly from: string;
  readonly to: string;
  /** Under way, oldest first. */
  readonly queue: SimMessage[];
  /** Nothing sent earlier arrives later than this. */
  lastArrivalMs: number;
  /** Set when the connection is closed: what would arrive later is lost. */
  closesAtMs: number;
  /** Would have arrived if the nodes were not separated. */
  stalled: number;
}

interface Connection {
  readonly ends: readonly [string, string];
  readonly directions: readonly [Direction, Direction];
}

/** Milliseconds after which a connection that nobody answers is given up. */
const connectMs = 10_000;

export class Network {
  private readonly world: World;
  private readonly processes = new Map<string, SimProcess>();
  private readonly connections = new Map<string, Connection>();
  private readonly byNode = new Map<NodeKey, Set<string>>();
  /** Nodes between whose processes there ever was a connection. */
  private readonly reachedFrom = new Map<NodeKey, Set<NodeKey>>();
  private readonly byProcess = new Map<string, Set<Connection>>();
  /** When an end learns that its last connection to another closed, by "end other"; what it sends before is lost. */
  private readonly noticedAtMs = new Map<string, number>();
  /** Nodes that are apart from the rest, by the part they are in. */
  private readonly parts = new Map<string, number>();
  private readonly stalled = new Set<Direction>();
  private heldWords: (() => void)[] = [];
  /** Messages between two ends take up to this long. */
  private readonly delayMsMax: number;

  constructor(world: World, delayMsMax: number) {
    this.world = world;
    this.delayMsMax = delayMsMax;
  }

  add(process: SimProcess): void {
    this.processes.set(process.id, process);
    setOf(this.byNode, nodeKeyOf(process.id)).add(process.id);
  }

  get(id: string): SimProcess | undefined {
    return this.processes.get(id);
  }

  /** Other nodes that processes of this one have had to do with: the runtime has a link to each. */
  reached(node: string): ReadonlySet<NodeKey> {
    return setOf(this.reachedFrom, nodeKeyOf(node));
  }

  private noteReached(from: NodeKey, to: NodeKey): void {
    if (from === to) return;
    setOf(this.reachedFrom, from).add(to);
    setOf(this.reachedFrom, to).add(from);
  }

  connected(a: string, b: string): boolean {
    return this.connections.has(pairOf(a, b));
  }

  // -------------------------------------------------------------- separation

  /** Part 0 is the rest of the cluster. */
  separate(node: string, part: number): void {
    this.world.log("network", `${node} is in part ${part}`);
    if (part === 0) this.parts.delete(node);
    else this.parts.set(node, part);
  }

  separated(a: string, b: string): boolean {
    if (this.parts.size === 0) return false;
    return (this.parts.get(nodeKeyOf(a)) ?? 0) !== (this.parts.get(nodeKeyOf(b)) ?? 0);
  }

  /** After nodes were joined again: what was held up goes on. */
  flow(): void {
    for (const direction of this.stalled) {
      if (this.separated(direction.from, direction.to)) continue;
      this.stalled.delete(direction);
      for (; direction.stalled > 0; direction.stalled--) this.planArrival(direction);
    }
    const words = this.heldWords;
    this.heldWords = [];
    for (const word of words) word();
  }

  // -------------------------------------------------------------- messages

  /** Sends, connecting first if need be. */
  send(from: string, to: string, message: SimMessage): void {
    this.world.log(from, `-> ${to} ${messageText(message)}`);
    if ((this.noticedAtMs.get(`${from} ${to}`) ?? 0) > this.world.now) return;
    const connection = this.open(from, to);
    if (connection === null) return;
    const direction = connection.directions[connection.directions[0].to === to ? 0 : 1];
    direction.queue.push(message);
    this.planArrival(direction);
  }

  private planArrival(direction: Direction): void {
    direction.lastArrivalMs = Math.max(direction.lastArrivalMs, this.world.now + this.delay());
    this.world.at(direction.lastArrivalMs, () => this.arrive(direction));
  }

  private open(from: string, to: string): Connection | null {
    const key = pairOf(from, to);
    const known = this.connections.get(key);
    if (known !== undefined) return known;
    if (this.processes.get(to)?.alive !== true) {
      this.world.after(this.separated(from, to) ? connectMs : this.delay(), () => this.tell(from, to));
      return null;
    }
    const direction = (sender: string, receiver: string): Direction => ({
      from: sender,
      to: receiver,
      queue: [],
      lastArrivalMs: this.noticedAtMs.get(`${receiver} ${sender}`) ?? 0,
      closesAtMs: Number.POSITIVE_INFINITY,
      stalled: 0,
    });
    if (direction(from, to).lastArrivalMs === Number.POSITIVE_INFINITY) return null; // the other end still has a dead one
    const connection: Connection = { ends: [from, to], directions: [direction(from, to), direction(to, from)] };
    this.connections.set(key, connection);
    this.noteReached(nodeKeyOf(from), nodeKeyOf(to));
    this.connectionsOf(from).add(connection);
    this.connectionsOf(to).add(connection);
    return connection;
  }

  private connectionsOf(id: string): Set<Connection> {
    return setOf(this.byProcess, id);
  }

  private arrive(direction: Direction): void {
    const process = this.processes.get(direction.to);
    if (process?.alive !== true || this.world.now > direction.closesAtMs) return;
    if (this.separated(direction.from, direction.to)) {
      direction.stalled++;
      this.stalled.add(direction);
      return;
    }
    if (process.busyUntilMs > this.world.now) {
      direction.lastArrivalMs = Math.max(direction.lastArrivalMs, process.busyUntilMs);
      this.world.at(process.busyUntilMs, () => this.arrive(direction));
      return;
    }
    process.receive(direction.from, direction.queue.shift() as SimMessage);
  }

  // -------------------------------------------------------------- ends

  /** The process ends as if by SIGKILL. */
  kill(id: string): void {
    const process = this.processes.get(id);
    if (process === undefined || !process.alive) return;
    process.alive = false;
    this.world.log(id, "dies");
    for (const connection of [...this.connectionsOf(id)]) this.close(connection);
    this.byProcess.delete(id);
  }

  /** The connection breaks while both ends live. */
  cut(a: string, b: string): boolean {
    const connection = this.connections.get(pairOf(a, b));
    if (connection === undefined) return false;
    this.world.log("network", `cuts ${a} from ${b}`);
    this.close(connection);
    return true;
  }

  /** All connections between processes of the two nodes break: they are carried by one. */
  cutNodes(a: string, b: string): void {
    for (const id of setOf(this.byNode, nodeKeyOf(b)))
      for (const connection of [...(this.byProcess.get(id) ?? [])])
        if (connection.ends.some((end) => nodeKeyOf(end) === a)) this.close(connection);
  }

  pairs(): (readonly [string, string])[] {
    return [...this.connections.values()].map((connection) => connection.ends);
  }

  private close(connection: Connection): void {
    const [a, b] = connection.ends;
    this.connections.delete(pairOf(a, b));
    this.byProcess.get(a)?.delete(connection);
    this.byProcess.get(b)?.delete(connection);
    for (const direction of connection.directions) {
      const { from, to } = direction;
      direction.closesAtMs = this.world.now + this.delay();
      this.noticedAtMs.set(`${to} ${from}`, direction.closesAtMs);
      this.world.at(direction.closesAtMs, () => this.lose(to, from));
    }
  }

  /** The end of a connection is noticed at `to`, unless no word of it gets through. */
  private lose(to: string, from: string): void {
    const key = `${to} ${from}`;
    if (this.separated(to, from) && this.processes.get(to)?.alive === true && !isGivenUp(this.processes.get(to), from)) {
      this.noticedAtMs.set(key, Number.POSITIVE_INFINITY);
      this.heldWords.push(() => this.world.after(this.delay(), () => this.lose(to, from)));
      return;
    }
    this.noticedAtMs.set(key, this.world.now);
    this.tell(to, from);
  }

  /** A node gives another up: its processes lose their connections to those there, whether or not these hear of it. */
  giveUp(node: string, other: string): void {
    this.cutNodes(node, other);
    const words = this.heldWords;
    this.heldWords = [];
    for (const word of words) word();
  }

  private tell(to: string, gone: string): void {
    const process = this.processes.get(to);
    if (process?.alive !== true) return;
    if (process.busyUntilMs > this.world.now) return void this.world.at(process.busyUntilMs, () => this.tell(to, gone));
    this.world.log(to, `lost ${gone}`);
    process.peerGone(gone);
  }

  private delay(): number {
    // Mostly quick, sometimes slow: that is what makes connections overtake each other.
    const { random } = this.world;
    return random.chance(0.9) ? 0.02 + random.next() * 0.1 : random.next() * this.delayMsMax;
  }
}

const isGivenUp = (process: SimProcess | undefined, other: string): boolean =>
  (process as { hasGivenUp?(node: string): boolean } | undefined)?.hasGivenUp?.(nodeKeyOf(other)) ?? false;

const pairOf = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`);

function setOf<K, V>(sets: Map<K, Set<V>>, key: K): Set<V> {
  let set = sets.get(key);
  if (set === undefined) {
    set = new Set();
    sets.set(key, set);
  }
  return set;
}

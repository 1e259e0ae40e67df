/**
 * Processes and the connections between them. A connection delivers in order in each direction, after a random delay; different ones
 * overtake each other. When it breaks, or a process dies, an arbitrary tail of what was under way is lost and the other side is told.
 */
import type { AnyMessage } from "../src/wire/messages.ts";
import { messageText } from "./message-text.ts";
import type { World } from "./world.ts";

export interface SimProcess {
  readonly id: string;
  alive: boolean;
  /** Nothing is received before: the process computes without looking up. */
  busyUntilMs: number;
  receive(from: string, message: AnyMessage): void;
  /** The connection to `peer` ended. */
  peerGone(peer: string): void;
}

interface Direction {
  /** Nothing sent earlier arrives later than this. */
  lastArrivalMs: number;
  /** Set when the connection is closed: what would arrive later is lost. */
  closesAtMs: number;
}

interface Connection {
  readonly ends: readonly [string, string];
  readonly directions: Map<string, Direction>;
}

export class Network {
  private readonly world: World;
  private readonly processes = new Map<string, SimProcess>();
  private readonly connections = new Map<string, Connection>();
  /** When an end learns that its last connection to another closed, by "end other"; what it sends before is lost. */
  private readonly noticedAtMs = new Map<string, number>();
  /** Messages between two ends take up to this long. */
  private readonly delayMsMax: number;

  constructor(world: World, delayMsMax: number) {
    this.world = world;
    this.delayMsMax = delayMsMax;
  }

  add(process: SimProcess): void {
    this.processes.set(process.id, process);
  }

  get(id: string): SimProcess | undefined {
    return this.processes.get(id);
  }

  connected(a: string, b: string): boolean {
    return this.connections.has(pairOf(a, b));
  }

  /** Sends, connecting first if need be. */
  send(from: string, to: string, message: AnyMessage): void {
    this.world.log(from, `-> ${to} ${messageText(message)}`);
    if ((this.noticedAtMs.get(`${from} ${to}`) ?? 0) > this.world.now) return;
    const connection = this.open(from, to);
    if (connection === null) return;
    const direction = connection.directions.get(to) as Direction;
    const arrivalMs = Math.max(direction.lastArrivalMs, this.world.now + this.delay());
    direction.lastArrivalMs = arrivalMs;
    this.world.at(arrivalMs, () => this.arrive(direction, from, to, message));
  }

  private open(from: string, to: string): Connection | null {
    const key = pairOf(from, to);
    const known = this.connections.get(key);
    if (known !== undefined) return known;
    if (this.processes.get(to)?.alive !== true) {
      this.world.after(this.delay(), () => this.tell(from, to));
      return null;
    }
    const direction = (receiver: string, sender: string): Direction => ({
      lastArrivalMs: this.noticedAtMs.get(`${receiver} ${sender}`) ?? 0,
      closesAtMs: Number.POSITIVE_INFINITY,
    });
    const connection: Connection = {
      ends: [from, to],
      directions: new Map([
        [from, direction(from, to)],
        [to, direction(to, from)],
      ]),
    };
    this.connections.set(key, connection);
    return connection;
  }

  private arrive(direction: Direction, from: string, to: string, message: AnyMessage): void {
    const process = this.processes.get(to);
    if (process?.alive !== true || this.world.now > direction.closesAtMs) return;
    if (process.busyUntilMs > this.world.now) {
      direction.lastArrivalMs = Math.max(direction.lastArrivalMs, process.busyUntilMs);
      this.world.at(process.busyUntilMs, () => this.arrive(direction, from, to, message));
      return;
    }
    process.receive(from, message);
  }

  /** The process ends as if by SIGKILL. */
  kill(id: string): void {
    const process = this.processes.get(id);
    if (process === undefined || !process.alive) return;
    process.alive = false;
    this.world.log(id, "dies");
    for (const connection of [...this.connections.values()]) if (connection.ends.includes(id)) this.close(connection);
  }

  /** The connection breaks while both ends live. */
  cut(a: string, b: string): boolean {
    const connection = this.connections.get(pairOf(a, b));
    if (connection === undefined) return false;
    this.world.log("network", `cuts ${a} from ${b}`);
    this.close(connection);
    return true;
  }

  pairs(): (readonly [string, string])[] {
    return [...this.connections.values()].map((connection) => connection.ends);
  }

  private close(connection: Connection): void {
    const [a, b] = connection.ends;
    this.connections.delete(pairOf(a, b));
    for (const [to, from] of [
      [a, b],
      [b, a],
    ]) {
      const direction = connection.directions.get(to) as Direction;
      direction.closesAtMs = this.world.now + this.delay();
      this.noticedAtMs.set(`${to} ${from}`, direction.closesAtMs);
      this.world.at(direction.closesAtMs, () => this.tell(to, from));
    }
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

const pairOf = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`);

/** This process's connection to its node daemon. */
import { connect, type Socket } from "node:net";
import { ClusterConnectionError, errorClassByName } from "../../base/errors.ts";
import { Kind } from "../../wire/index.ts";
import type { FromDaemon, HelloInfo, ToDaemon, WelcomeInfo } from "../../wire/messages.ts";
import { Requests } from "../transport/connection.ts";
import { Link } from "../transport/link.ts";

export interface DaemonHandlers {
  onMessage(message: FromDaemon): void;
  onLost(reason: string): void;
}

export class DaemonLink {
  private link: Link | null = null;
  private readonly requests = new Requests();
  private readonly handlers: DaemonHandlers;
  /** Sent before there was a connection. */
  private early: ToDaemon[] = [];
  private earlyRequests: (() => void)[] = [];
  private lost: Error | null = null;
  /** Somebody wants the process to stay alive; set by `keepAlive`. A request under way does, too, as a rule: its caller waits. */
  private kept = true;
  private awaited = 0;
  private welcome: { resolve(info: WelcomeInfo): void; reject(error: Error): void } | null = null;

  constructor(handlers: DaemonHandlers) {
    this.handlers = handlers;
  }

  /**
   * Connects and introduces this process; resolves with the daemon's welcome. `to`: the path of the daemon's socket, or a connection
   * to a daemon, which may still be connecting (another node's: `connectThroughRelay(sessionDir, daemonTarget(node))`).
   */
  connect(to: string | Socket, hello: HelloInfo): Promise<WelcomeInfo> {
    return new Promise((resolve, reject) => {
      this.welcome = { resolve, reject };
      const link = new Link(typeof to === "string" ? connect(to) : to, {
        onMessages: (messages) => {
          for (const message of messages as unknown as FromDaemon[]) this.dispatch(message);
        },
        onClose: (_link, reason) => this.closed(reason),
      });
      this.link = link;
      link.send([Kind.Hello, hello]);
      for (const message of this.early) link.send(message);
      this.early = [];
      for (const start of this.earlyRequests) start();
      this.earlyRequests = [];
    });
  }

  send(message: ToDaemon): void {
    if (this.link !== null) this.link.send(message);
    else if (this.lost === null) this.early.push(message);
  }

  /** The daemon's answer. `keepsAlive` false: the process need not stay for it. */
  request(method: string, params: unknown, { keepsAlive = true } = {}): Promise<any> {
    if (this.lost !== null) return Promise.reject(this.lost);
    if (this.link !== null) return this.call(this.link, method, params, keepsAlive);
    return new Promise((resolve, reject) => {
      this.earlyRequests.push(() => this.call(this.link as Link, method, params, keepsAlive).then(resolve, reject));
    });
  }

  private call(link: Link, method: string, params: unknown, keepsAlive: boolean): Promise<any> {
    const answer = this.requests.call(link, method, params);
    if (keepsAlive) {
      this.awaited++;
      this.holdProcess();
      answer.then(this.answered, this.answered);
    }
    return answer;
  }

  private readonly answered = (): void => {
    this.awaited--;
    this.holdProcess();
  };

  /** The process stays alive for this connection (true), or only while a request is under way. */
  keepAlive(on: boolean): void {
    this.kept = on;
    this.holdProcess();
  }

  private holdProcess(): void {
    if (this.kept || this.awaited > 0) this.link?.socket.ref();
    else this.link?.socket.unref();
  }

  flush(): void {
    this.link?.flush();
  }

  close(): void {
    this.lost ??= new ClusterConnectionError("Cannot talk to the cluster: this process has shut down", {});
    this.link?.end();
    this.requests.failAll(this.lost);
  }

  /** Gives up a connection that could not be made. */
  abort(error: Error): void {
    this.lost = error;
    this.early = [];
    this.requests.failAll(error);
  }

  private dispatch(message: FromDaemon): void {
    switch (message[0]) {
      case Kind.Welcome:
        this.welcome?.resolve(message[1]);
        this.welcome = null;
        return;
      case Kind.Refused:
        this.welcome?.reject(new ClusterConnectionError(message[1], {}));
        this.welcome = null;
        return;
      case Kind.Response:
        return this.requests.settle(message[1], message[2], message[3], errorFromWire);
      default:
        this.handlers.onMessage(message);
    }
  }

  private closed(reason: string): void {
    this.link = null;
    if (this.lost !== null) return;
    const error = new ClusterConnectionError(`Cannot reach the node daemon: ${reason}`, {});
    this.lost = error;
    this.welcome?.reject(error);
    this.welcome = null;
    this.requests.failAll(error);
    this.handlers.onLost(reason);
  }
}

/** Errors in responses travel as class name, message and fields. */
export function errorFromWire(value: unknown, method: string): Error {
  const wire = value as { name?: string; code?: string; message?: string; fields?: Record<string, unknown> } | string | null;
  if (wire === null || typeof wire !== "object") return new Error(`Cannot ${method}: ${String(wire)}`);
  const Class = wire.name === undefined ? undefined : errorClassByName(wire.name);
  if (Class !== undefined) return new Class(wire.message ?? "", wire.fields ?? {});
  const error = new Error(wire.message ?? `Cannot ${method}`);
  return Object.assign(error, wire.fields, wire.code === undefined ? {} : { code: wire.code });
}

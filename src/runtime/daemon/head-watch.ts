/**
 * A node's tie to the head: joins it, tells it what is free, and decides when it is lost.
 *
 * Silence for `nodeTimeoutMs` means that the head has declared this node dead, or is about to: the node ends its work then, so that nothing runs twice for
 * longer than that. A head whose process is gone cannot have declared anything: its address refuses connections, and the node goes on and waits
 * `headRestartMs` for a head on the same store to come back.
 */
import { AuthenticationError, ClusterConnectionError } from "../../base/errors.ts";
import type { NodeId } from "../../base/ids.ts";
import type { Joined, JoinInfo, NodeMessage, NotJoined } from "../../wire/node-messages.ts";
import { NodeKind } from "../../wire/node-messages.ts";
import type { NodeLinks } from "../transport/node-links.ts";
import { headRestartMs, heartbeatMs, joinRetryMs, nodeTimeoutMs } from "./config.ts";

export interface HeadWatchHandlers {
  joinInfo(): JoinInfo;
  heartbeat(sequence: number): NodeMessage;
  /** `earlier`: the head there was before, when this is another. */
  joined(answer: Joined, earlier: NodeId | null): void;
  /** The connection broke; it goes on trying. */
  interrupted(reason: string): void;
  /** It is over: this node is no member any more. */
  lost(reason: string): void;
}

/** The head does not want this node. */
class JoinRefused extends Error {
  override readonly name = "JoinRefused";
}

/** What joining needs of the connections between daemons. */
type Links = Pick<NodeLinks, "dial" | "request" | "send" | "drop" | "isOpen">;

export class HeadWatch {
  private readonly links: Links;
  private readonly host: string;
  private readonly port: number;
  private readonly handlers: HeadWatchHandlers;
  headNodeId: NodeId | null = null;
  /** What is sent now is heard after the request to join. */
  isTalking = false;
  /** The head that has accepted this node last. */
  private accepted: NodeId | null = null;
  private waiting: { resolve(): void; reject(error: Error): void }[] = [];
  private lostAs: Error | null = null;
  private heardAtMs = 0;
  private sequence = 0;
  private beat: NodeJS.Timeout | null = null;
  private reconnecting = false;
  private closed = false;

  constructor(links: Links, host: string, port: number, handlers: HeadWatchHandlers) {
    this.links = links;
    this.host = host;
    this.port = port;
    this.handlers = handlers;
  }

  /** Resolves as a member. Retries a head that is not there yet until `timeoutMs` have passed, then rejects with what was tried. */
  async join(timeoutMs: number): Promise<void> {
    const until = Date.now() + timeoutMs;
    for (let tries = 1; ; tries++) {
      try {
        return await this.joinOnce(Math.max(1_000, Math.min(10_000, until - Date.now())));
      } catch (error) {
        if (isFinal(error) || Date.now() + joinRetryMs > until)
          throw new Error(
            `Cannot join the cluster at ${this.host}:${this.port}${isFinal(error) ? "" : ` in ${Math.round(timeoutMs / 1000)} s (${tries} tries)`}: ${(error as Error).message}`,
            { cause: error },
          );
      }
      await new Promise((resolve) => setTimeout(resolve, joinRetryMs));
      if (this.closed) throw new Error(`Cannot join the cluster at ${this.host}:${this.port} as this daemon ends`);
    }
  }

  /** Something was heard from the head. */
  heard(): void {
    this.heardAtMs = Date.now();
  }

  disconnected(nodeId: NodeId, reason: string): void {
    if (nodeId !== this.headNodeId) return;
    this.isTalking = false;
    if (this.closed || this.reconnecting || this.accepted === null) return; // somebody tries to join already
    this.handlers.interrupted(reason);
    this.reconnecting = true;
    void this.reconnect(reason);
  }

  /** Resolves when this node is a member and the head can be asked; rejects when it is lost. */
  joined(): Promise<void> {
    if (this.lostAs !== null) return Promise.reject(this.lostAs);
    if (this.isJoined) return Promise.resolve();
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  get isJoined(): boolean {
    return this.isTalking && this.accepted === this.headNodeId && !this.reconnecting;
  }

  close(): void {
    this.closed = true;
    this.lostAs ??= new ClusterConnectionError("Cannot ask the head of the cluster: this node is ending", {});
    for (const { reject } of this.waiting.splice(0)) reject(this.lostAs);
    if (this.beat !== null) clearInterval(this.beat);
  }

  private async joinOnce(timeoutMs: number): Promise<void> {
    const nodeId = await this.links.dial(this.host, this.port, timeoutMs);
    this.headNodeId = nodeId;
    const answering = this.links.request(nodeId, "join", this.handlers.joinInfo(), timeoutMs, (answer) =>
      this.answered(nodeId, answer),
    );
    this.isTalking = true;
    const answer = (await answering.catch((error) => {
      this.isTalking = false;
      throw error;
    })) as Joined | NotJoined;
    if ("refused" in answer) throw new JoinRefused(answer.refused);
  }

  /** Before anything is heard that the head says to a member, and before the end of a connection that broke right after. */
  private answered(nodeId: NodeId, answer: Joined | NotJoined): void {
    if ("refused" in answer) this.isTalking = false;
    if ("refused" in answer || this.closed) return;
    this.heard();
    const earlier = this.accepted !== nodeId ? this.accepted : null;
    this.accepted = nodeId;
    this.reconnecting = false;
    this.handlers.joined(answer, earlier);
    for (const { resolve } of this.waiting.splice(0)) resolve();
    this.beat ??= setInterval(() => this.tick(), heartbeatMs);
    this.sendHeartbeat();
  }

  private tick(): void {
    if (this.closed || this.reconnecting) return;
    this.sendHeartbeat();
    const silentMs = Date.now() - this.heardAtMs;
    if (silentMs >= nodeTimeoutMs) this.giveUp(`nothing was heard from the head for ${Math.round(silentMs / 1000)} s`);
  }

  sendHeartbeat(): void {
    if (this.headNodeId !== null && !this.closed && this.isTalking && this.links.isOpen(this.headNodeId))
      this.links.send(this.headNodeId, this.handlers.heartbeat(++this.sequence));
  }

  /** The head may be restarting, or the cable may be cut. */
  private async reconnect(reason: string): Promise<void> {
    const since = Date.now();
    let lastHeard = this.heardAtMs;
    while (!this.closed) {
      try {
        return await this.joinOnce(2_000);
      } catch (error) {
        const text = (error as Error).message;
        if (isFinal(error)) return this.giveUp(text);
        // Refused: nobody is there who could have given this node up.
        if (isRefused(error)) lastHeard = Date.now();
        if (Date.now() - lastHeard >= nodeTimeoutMs)
          return this.giveUp(
            `the head has been out of reach for ${Math.round((Date.now() - lastHeard) / 1000)} s (${reason}; then ${text})`,
          );
        if (Date.now() - since >= headRestartMs)
          return this.giveUp(`the head did not come back within ${headRestartMs / 1000} s (${reason}; then ${text})`);
      }
      await new Promise((resolve) => setTimeout(resolve, joinRetryMs));
    }
  }

  private giveUp(reason: string): void {
    if (this.closed) return;
    this.lostAs = new ClusterConnectionError(`Cannot ask the head of the cluster: ${reason}`, {});
    this.close();
    if (this.headNodeId !== null) this.links.drop(this.headNodeId, reason);
    this.handlers.lost(reason);
  }
}

/** Trying again would not help: another token, another cluster, another version, or the head does not want this node. */
function isFinal(error: unknown): boolean {
  return error instanceof AuthenticationError || error instanceof JoinRefused;
}

function isRefused(error: unknown): boolean {
  const chain = [error, (error as { cause?: unknown })?.cause];
  return chain.some((one) => ["ECONNREFUSED", "ECONNRESET"].includes((one as { code?: string })?.code ?? ""));
}

export const ackOfHeartbeat: NodeMessage = [NodeKind.Nodes, []];

/** Requests to other nodes: numbers them, settles them, gives up those that take too long or whose node is gone. */
import { clearTimeout, setTimeout } from "../../base/clock.ts";
import { ClusterConnectionError } from "../../base/errors.ts";
import type { NodeId } from "../../base/ids.ts";
import { errorFromWire } from "../owner/daemon-link.ts";

interface Pending {
  readonly to: NodeId;
  readonly method: string;
  readonly timer: NodeJS.Timeout;
  readonly taken: ((value: any) => void) | undefined;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class NodeRequests {
  private readonly pending = new Map<number, Pending>();
  private next = 1;

  /** `taken` is called with the answer where it arrives: what a promise's reader does comes after whatever else has arrived with it. */
  call(to: NodeId, method: string, timeoutMs: number, send: (id: number) => void, taken?: (value: any) => void): Promise<any> {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.take(id)?.reject(unanswered(method, to, `it did not answer within ${timeoutMs} ms`));
      }, timeoutMs);
      this.pending.set(id, { to, method, timer, taken, resolve, reject });
      send(id);
    });
  }

  /** Settles request `id` of node `from`. Unknown ids are ignored: the caller may have given up. */
  settle(from: NodeId, id: number, ok: boolean, value: unknown): void {
    const request = this.pending.get(id);
    if (request === undefined || request.to !== from) return;
    this.take(id);
    if (ok) {
      request.taken?.(value);
      request.resolve(value);
    } else request.reject(errorFromWire(value, request.method));
  }

  failNode(node: NodeId, reason: string): void {
    for (const [id, { to, method }] of this.pending) if (to === node) this.take(id)?.reject(unanswered(method, to, reason));
  }

  failAll(error: Error): void {
    for (const id of this.pending.keys()) this.take(id)?.reject(error);
  }

  private take(id: number): Pending | undefined {
    const request = this.pending.get(id);
    if (request === undefined) return undefined;
    this.pending.delete(id);
    clearTimeout(request.timer);
    return request;
  }
}

const unanswered = (method: string, node: NodeId, reason: string): ClusterConnectionError =>
  new ClusterConnectionError(`Cannot ${method} at node ${node}: ${reason}`, {});

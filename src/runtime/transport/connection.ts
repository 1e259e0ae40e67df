/** Requests with answers over a link: numbers them, settles them, fails them all when the link ends. */
import { Kind } from "../../wire/index.ts";
import type { Link } from "./link.ts";

interface PendingRequest {
  readonly method: string;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class Requests {
  private readonly pending = new Map<number, PendingRequest>();
  private next = 1;

  /** Sends a request; rejects with what the other side answers, or with `failAll`'s error when the link ends. */
  call(link: Link, method: string, params: unknown): Promise<any> {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.pending.set(id, { method, resolve, reject });
      link.send([Kind.Request, id, method, params]);
    });
  }

  /** Settles the request `id`; `toError` makes an error of a refusal. Unknown ids are ignored: the caller may have given up. */
  settle(id: number, ok: boolean, value: unknown, toError: (value: unknown, method: string) => Error): void {
    const request = this.pending.get(id);
    if (request === undefined) return;
    this.pending.delete(id);
    if (ok) request.resolve(value);
    else request.reject(toError(value, request.method));
  }

  failAll(error: Error): void {
    const all = [...this.pending.values()];
    this.pending.clear();
    for (const request of all) request.reject(error);
  }
}

/** Another process that uses the same store, driven from a test. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Location } from "../types.ts";

export type Order =
  | { op: "put"; owner?: string; index: number; bytes: number; fill: number }
  | { op: "open"; index: number; bytes: number }
  | { op: "view"; key: string; location: Location }
  | { op: "bytes"; key: string }
  | { op: "write"; key: string; fill: number }
  | { op: "drop"; key: string }
  | { op: "free"; location: Location }
  | { op: "stats" }
  | { op: "churn"; rounds: number };

export class Peer {
  readonly selfId: string;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: any) => void; reject: (error: Error) => void }>();
  #serial = 0;

  static async start(dirs: { shmDir: string; spillDir: string }, selfId: string): Promise<Peer> {
    const main = fileURLToPath(new URL("./peer-main.ts", import.meta.url));
    const child = fork(main, [dirs.shmDir, dirs.spillDir, selfId], {
      execArgv: ["--import", "tsx"],
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const [first] = await once(child, "message");
    if (!first.ready) throw new Error("the peer did not start");
    return new Peer(child, selfId);
  }

  private constructor(child: ChildProcess, selfId: string) {
    this.#child = child;
    this.selfId = selfId;
    child.on("message", (message: any) => {
      if (message.id === undefined) return;
      const { resolve, reject } = this.#waiting.get(message.id)!;
      this.#waiting.delete(message.id);
      if (message.error) reject(Object.assign(new Error(message.error.message), message.error));
      else resolve(message.result);
    });
    child.on("exit", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("the peer ended"));
    });
  }

  do(order: Order): Promise<any> {
    const id = this.#serial++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, order });
    });
  }

  /** Calls `listener` with every round of `churn` as it ends. */
  onRound(listener: (round: number) => void): void {
    this.#child.on("message", (message: any) => message.round !== undefined && listener(message.round));
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }
}

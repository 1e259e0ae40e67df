/** Placement groups: resources reserved together, for tasks and actors to run in. */
import { clearTimeout, setTimeout } from "../../base/clock.ts";
import type { PlacementGroupId } from "../../base/ids.ts";
import { timerMs } from "../../base/timer-ms.ts";
import type { Resources } from "../../wire/messages.ts";
import type { ObjectRef } from "./object-ref.ts";
import type { Runtime } from "./runtime.ts";

/** Made by `placementGroup`. Its bundles are reserved when `ready()` is; until then what is aimed at it waits. */
export class PlacementGroup {
  readonly id: PlacementGroupId;
  readonly bundles: readonly Resources[];
  readonly #runtime: Runtime;
  /** That the head knows the group; rejects with why it does not. */
  readonly #created: Promise<unknown>;

  /** @internal `created`: the head's answer to whoever made it. */
  constructor(
    id: PlacementGroupId,
    bundles: readonly Resources[],
    runtime: Runtime,
    created: Promise<unknown> = Promise.resolve(),
  ) {
    this.id = id;
    this.bundles = bundles;
    this.#runtime = runtime;
    this.#created = created;
    created.catch(() => {}); // ready() and wait() tell
  }

  /** A ref that resolves to the group when all its bundles are reserved. */
  ready(): ObjectRef<PlacementGroup> {
    const runtime = this.#runtime;
    return runtime.objects.refFromPromise(
      this.#settled().then((state) => {
        if (state !== "CREATED") throw new Error(`Cannot wait for placement group ${this.id}: it was removed`);
        return this;
      }),
    );
  }

  /** True when the bundles are reserved, false when that did not happen within `timeoutMs` (default 30,000) or the group was removed. */
  async wait(options: { timeoutMs?: number } = {}): Promise<boolean> {
    const timeoutMs = options.timeoutMs ?? 30_000;
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<boolean>((resolve) => {
      timer = setTimeout(resolve, timerMs(timeoutMs), false);
    });
    const ended = this.#runtime.waitStarted();
    try {
      return await Promise.race([this.#settled().then((state) => state === "CREATED"), timeout]);
    } finally {
      ended();
      clearTimeout(timer);
    }
  }

  /** Keeps no process alive and no task waiting: that is for whoever awaits it. */
  async #settled(): Promise<string> {
    await this.#created;
    const asked = this.#runtime.daemon.request("waitPlacementGroup", { groupId: this.id }, { keepsAlive: false });
    return ((await asked) as { state: string }).state;
  }
}

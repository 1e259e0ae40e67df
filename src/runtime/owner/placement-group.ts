/** Placement groups: resources reserved together, for tasks and actors to run in. */
import type { PlacementGroupId } from "../../base/ids.ts";
import type { Resources } from "../../wire/messages.ts";
import type { ObjectRef } from "./object-ref.ts";
import type { Runtime } from "./runtime.ts";

/** Made by `placementGroup`. Its bundles are reserved when `ready()` is; until then what is aimed at it waits. */
export class PlacementGroup {
  readonly id: PlacementGroupId;
  readonly bundles: readonly Resources[];
  readonly #runtime: Runtime;

  /** @internal */
  constructor(id: PlacementGroupId, bundles: readonly Resources[], runtime: Runtime) {
    this.id = id;
    this.bundles = bundles;
    this.#runtime = runtime;
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
      timer = setTimeout(resolve, timeoutMs, false);
    });
    try {
      return await Promise.race([this.#settled().then((state) => state === "CREATED"), timeout]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #settled(): Promise<string> {
    this.#runtime.waitStarted();
    try {
      return ((await this.#runtime.daemon.request("waitPlacementGroup", { groupId: this.id })) as { state: string }).state;
    } finally {
      this.#runtime.waitEnded();
    }
  }
}

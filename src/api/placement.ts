/** Placement groups: resources reserved together. */
import { newPlacementGroupId } from "../base/ids.ts";
import { checkAmounts, checkName, checkNames, checkText, shown } from "../runtime/owner/checks.ts";
import { PlacementGroup } from "../runtime/owner/placement-group.ts";
import { bundlesMax } from "../wire/limits.ts";
import type { GroupView } from "../wire/messages.ts";
import { runtimeNow } from "./init.ts";

export { PlacementGroup };

const optionNames = new Set(["strategy", "name", "lifetime"]);
const strategies = ["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"] as const;

export interface PlacementGroupOptions {
  /** PACK (default): few nodes; SPREAD: many; STRICT_PACK: exactly one; STRICT_SPREAD: one each. */
  strategy?: (typeof strategies)[number];
  name?: string;
  lifetime?: "detached";
}

/**
 * Asks for bundles of resources, reserved together or not at all. Returns at once; `ready()` and `wait()` tell when they are.
 *
 * @example
 * const group = shoal.placementGroup([{ CPU: 1 }, { CPU: 1 }]);
 * await group.wait();
 * square.options({ schedulingStrategy: shoal.placementGroupScheduling(group) }).remote(2);
 */
export function placementGroup(bundles: Record<string, number>[], options: PlacementGroupOptions = {}): PlacementGroup {
  checkBundles(bundles);
  checkNames("placement group", options, optionNames);
  checkName("name", options.name);
  const strategy = options.strategy ?? "PACK";
  if (!strategies.includes(strategy))
    throw new TypeError(`Cannot use placement strategy ${shown(strategy)}: the strategies are ${strategies.join(", ")}`);
  if (options.lifetime !== undefined && options.lifetime !== "detached")
    throw new TypeError(`Cannot use ${shown(options.lifetime)} as option 'lifetime': expected "detached"`);
  const runtime = runtimeNow();
  runtime.assertOpen();
  const groupId = newPlacementGroupId();
  const created = runtime.daemon.request("createPlacementGroup", {
    groupId,
    bundles,
    strategy,
    name: options.name ?? null,
    detached: options.lifetime === "detached",
    jobId: runtime.jobId,
  });
  return new PlacementGroup(groupId, bundles, runtime, created);
}

function checkBundles(bundles: Record<string, number>[]): void {
  if (!Array.isArray(bundles) || bundles.length === 0)
    throw new TypeError("Cannot make a placement group without bundles: expected a non-empty array of resources");
  if (bundles.length > bundlesMax)
    throw new RangeError(`Cannot make a placement group of ${bundles.length} bundles: expected at most ${bundlesMax}`);
  bundles.forEach((bundle, index) => {
    checkAmounts(`bundles[${index}]`, bundle ?? null, 0);
    const amounts = Object.values(bundle);
    if (amounts.every((amount) => amount === 0) || amounts.includes(undefined as never))
      throw new TypeError(
        `Cannot reserve the bundle ${JSON.stringify(bundle)}: expected resources with positive amounts, e.g. { CPU: 1 }`,
      );
  });
}

/** Gives a group's resources back. What runs in it is ended, what waits for it fails as unschedulable. Idempotent. */
export async function removePlacementGroup(group: PlacementGroup): Promise<void> {
  if (!(group instanceof PlacementGroup)) throw new TypeError("Cannot remove what is not a placement group");
  await runtimeNow().daemon.request("removePlacementGroup", { groupId: group.id });
}

/** The placement group of that name. Rejects when there is none. */
export async function getPlacementGroup(name: string): Promise<PlacementGroup> {
  checkText("name", name ?? null);
  const runtime = runtimeNow();
  const view = (await runtime.daemon.request("getPlacementGroup", { name })) as GroupView | null;
  if (view === null || view.state === "REMOVED") throw new RangeError(`Cannot find a placement group named '${name}'`);
  return new PlacementGroup(view.groupId, view.bundles, runtime);
}

/** Scheduling strategies that name a node or a placement group. */
import { checkFlag, checkNames, shown } from "../runtime/owner/checks.ts";
import type { PlacementGroup } from "./placement.ts";

const affinityNames = new Set(["soft"]);
const groupNames = new Set(["bundleIndex", "captureChildTasks"]);

/** Made by `nodeAffinity`. */
export interface NodeAffinity {
  readonly kind: "node";
  readonly nodeId: string;
  readonly soft: boolean;
}

/** Made by `placementGroupScheduling`. */
export interface PlacementGroupScheduling {
  readonly kind: "group";
  readonly group: PlacementGroup;
  readonly bundleIndex: number;
  readonly captureChildTasks: boolean;
}

/**
 * Runs a task or actor on one node. `soft`: elsewhere if the node is gone; otherwise that is an unschedulable error.
 *
 * @example
 * const [node] = await shoal.nodes();
 * square.options({ schedulingStrategy: shoal.nodeAffinity(node.nodeId) }).remote(2);
 */
export function nodeAffinity(nodeId: string, options: { soft?: boolean } = {}): NodeAffinity {
  if (typeof nodeId !== "string" || nodeId === "")
    throw new TypeError(`Cannot use ${shown(nodeId)} as a node id: expected a string from nodes()`);
  checkNames("node affinity", options, affinityNames);
  checkFlag("soft", options.soft);
  return { kind: "node", nodeId, soft: options.soft ?? false };
}

/** Runs a task or actor inside a placement group: in bundle `bundleIndex` (default -1: any). `captureChildTasks`: its own tasks too. */
export function placementGroupScheduling(
  group: PlacementGroup,
  options: { bundleIndex?: number; captureChildTasks?: boolean } = {},
): PlacementGroupScheduling {
  if (typeof group?.id !== "string" || !Array.isArray(group.bundles))
    throw new TypeError(`Cannot use ${shown(group)} as a placement group: expected one from placementGroup()`);
  checkNames("placement group scheduling", options, groupNames);
  checkFlag("captureChildTasks", options.captureChildTasks);
  const bundleIndex = options.bundleIndex ?? -1;
  if (!Number.isInteger(bundleIndex) || bundleIndex < -1 || bundleIndex >= group.bundles.length) {
    throw new RangeError(`Cannot use ${bundleIndex} as a bundle index: the group has ${group.bundles.length} bundles`);
  }
  return { kind: "group", group, bundleIndex, captureChildTasks: options.captureChildTasks ?? false };
}

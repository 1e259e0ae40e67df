import { beforeEach, describe, expect, it } from "vitest";
import type { NodeKey, WorkerId } from "../base/ids.ts";
import { copyLocation, segmentName } from "../objects/segment-name.ts";
import type { Location } from "../objects/types.ts";
import { heldObjects } from "./held-objects.ts";
import type { ObjectRecord } from "./object-record.ts";
import { step } from "./ownership.ts";
import { createOwnership, newOwned, type OwnershipState } from "./ownership-state.ts";
import type { TaskRecord } from "./task-record.ts";

const self = "aaaaaa0000000001" as WorkerId;
const [here, nodeB, nodeC, nodeD] = ["aaaaaa", "bbbbbb", "cccccc", "dddddd"] as NodeKey[];
const none = new Set<NodeKey>();

let state: OwnershipState;
beforeEach(() => {
  state = createOwnership(self);
});

/** An object whose first bytes were written on `node`, with copies on the others. */
function storedOn(node: NodeKey, ...copies: NodeKey[]): ObjectRecord {
  const record = newOwned(state);
  const location: Location = { name: segmentName(self, record.index, 0, `${node}0000000002`), offset: 0, bytes: 1000 };
  step(state, { kind: "hold", record });
  step(state, { kind: "put", record, value: undefined, location, contains: null });
  for (const copy of copies) step(state, { kind: "copyMade", index: record.index, copy: copyLocation(location, copy) });
  return record;
}

describe("heldObjects", () => {
  it("names what has bytes on the node, with where they are there, and what is only there first", () => {
    const both = storedOn(nodeB, nodeC);
    const only = storedOn(nodeB);
    const copied = storedOn(nodeC, nodeB);
    storedOn(nodeC);
    const held = heldObjects(state, nodeB, none);
    expect(held.map(({ index, only }) => [index, only])).toEqual([
      [only.index, true],
      [both.index, false],
      [copied.index, false],
    ]);
    expect(held[2].location.name).toMatch(/\.copy\.bbbbbb$/);
    expect(heldObjects(state, nodeB, none, 1).map(({ index }) => index)).toEqual([only.index]);
  });

  it("counts copies on nodes that leave, too, for nothing, but those on the owner's own node always", () => {
    storedOn(nodeB, nodeC);
    storedOn(nodeB, nodeC, nodeD);
    storedOn(nodeB, here);
    const held = heldObjects(state, nodeB, new Set([nodeC, here]));
    expect(held.map(({ index, only }) => [index, only])).toEqual([
      [1, true],
      [2, false],
      [3, false],
    ]);
  });

  it("knows no object that has been freed, and says which a task could make again", () => {
    const freed = storedOn(nodeB);
    step(state, { kind: "drop", record: freed });
    const put = storedOn(nodeB);
    const made = storedOn(nodeB);
    const final = storedOn(nodeB);
    made.maker = { retriesLeft: 3 } as TaskRecord;
    final.maker = { retriesLeft: 0 } as TaskRecord;
    expect(heldObjects(state, nodeB, none).map(({ index, replaceable }) => [index, replaceable])).toEqual([
      [put.index, false],
      [made.index, true],
      [final.index, false],
    ]);
  });
});

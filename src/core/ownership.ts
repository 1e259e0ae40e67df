/**
 * Ownership: the objects and tasks of one process, and the refs it borrowed.
 *
 * The process that makes a ref owns the object: it keeps the state, the counts and, while a large result may be lost, the task that
 * makes it. The complication is that a count lives in several processes at once; the answer is that a holder registers with the owner
 * before the one who lent it lets go (see docs/protocol.md, BorrowAdd), so counts here only ever change by messages and local drops.
 *
 * `step` is the only mutator. It appends effects to `state.effects`, which the caller drains and empties (one array, reused: this is the hot path).
 */
import { assert } from "../base/assert.ts";
import type { Location } from "../objects/types.ts";
import type { WireValue } from "../wire/messages.ts";
import type { ObjectRecord } from "./object-record.ts";
import { borrowerAdded, borrowerRemoved, dropLocal } from "./ownership-counts.ts";
import type { OwnershipEvent } from "./ownership-events.ts";
import { copyMade, lost, nodeLost } from "./ownership-lost.ts";
import type { OwnershipState } from "./ownership-state.ts";
import { abandonStream, streamItem, takeItem } from "./ownership-streams.ts";
import {
  becomeFailed,
  becomeInline,
  becomeQueued,
  becomeStored,
  cancel,
  crashed,
  failTask,
  finishCancelled,
  replied,
  settlePut,
  submit,
  threw,
  want,
} from "./ownership-tasks.ts";

export function step(state: OwnershipState, event: OwnershipEvent): void {
  switch (event.kind) {
    case "hold":
      event.record.localRefs++;
      return;
    case "drop":
      return dropLocal(state, event.record);
    case "put":
      return settlePut(state, event.record, event.value, event.location, event.contains);
    case "failObject":
      return becomeFailed(state, event.record, event.error);
    case "submit":
      return submit(state, event.task);
    case "pushed":
      assert(event.task.state === "queued", () => `task ${event.task.index} pushed while ${event.task.state}`);
      event.task.state = "pushed";
      event.task.runner = event.runner;
      return;
    case "handedBack":
      if (event.task.state !== "pushed") return finishCancelled(state, event.task);
      event.task.runner = null;
      becomeQueued(state, event.task);
      return;
    case "replied":
      return replied(state, event.task, event.attempt, event.returns);
    case "threw":
      return threw(state, event.task, event.attempt, event.error, event.retry);
    case "crashed":
      return crashed(state, event.task, event.cause);
    case "fail":
      return failTask(state, event.task, event.error);
    case "retryNow":
      if (event.task.state === "delayed") becomeQueued(state, event.task);
      return;
    case "cancel":
      return cancel(state, event.task, event.force, event.recursive, event.error);
    case "item":
      return streamItem(state, event.task, event.attempt, event.item, event.value);
    case "takeItem":
      return takeItem(state, event.task);
    case "abandon":
      return abandonStream(state, event.task);
    case "want":
      return want(state, event.record);
    case "resolved":
      return resolveBorrowed(state, event.record, event.outcome, event.value, event.location);
    case "lost":
      return lost(state, event.record, event.name, event.error);
    case "copyMade":
      return copyMade(state, event.index, event.copy);
    case "nodeLost":
      return nodeLost(state, event.isThere, event.error);
    case "ownerLost":
      return ownerLost(state, event.record, event.error);
    case "borrowerAdded":
      return borrowerAdded(event.record, event.borrower);
    case "borrowerRemoved":
      return borrowerRemoved(state, event.record, event.borrower, event.all);
  }
}

// ---------------------------------------------------------------- borrowed objects

function resolveBorrowed(
  state: OwnershipState,
  record: ObjectRecord,
  outcome: "value" | "stored" | "error",
  value: WireValue,
  location: Location | null,
): void {
  record.requested = false;
  if (record.state !== "pending") return;
  if (outcome === "error") becomeFailed(state, record, value as Uint8Array);
  else if (outcome === "stored") becomeStored(state, record, location as Location);
  else becomeInline(state, record, value);
}

function ownerLost(state: OwnershipState, record: ObjectRecord, error: Uint8Array): void {
  record.requested = false;
  if (record.state === "pending") becomeFailed(state, record, error);
  else if (record.state === "stored") {
    record.location = null;
    record.state = "failed";
    record.value = error;
  }
}

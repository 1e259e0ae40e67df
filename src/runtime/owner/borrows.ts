/**
 * Refs between processes: registering with owners, asking them for values, and answering those who ask us.
 *
 * A process that gets a ref registers with its owner (BorrowAdd); whoever lent it the ref holds on until the owner has answered, so the count
 * never passes through zero in between. Registration lasts as long as the connection: a borrower that dies is forgotten with it.
 */
import { ObjectLostError } from "../../base/errors.ts";
import { type NodeId, nodeKeyOf, type ObjectIndex, type WorkerId } from "../../base/ids.ts";
import { type Foreign, isSettled, type ObjectRecord } from "../../core/object-record.ts";
import { step } from "../../core/ownership.ts";
import type { Location } from "../../objects/types.ts";
import { Kind } from "../../wire/index.ts";
import type { PeerMessage, WireReturn } from "../../wire/messages.ts";
import type { Link } from "../transport/link.ts";
import type { Runtime } from "./runtime.ts";

interface Unregistered {
  readonly owner: WorkerId;
  readonly record: ObjectRecord;
  readonly done: Promise<void>;
  settle(): void;
}

export class Borrows {
  private readonly runtime: Runtime;
  /** BorrowAdds not answered yet. */
  private readonly unanswered = new Map<number, Unregistered>();
  /** GetObjects not answered yet. */
  private readonly fetches = new Map<number, ObjectRecord>();
  private nextNumber = 1;
  /** Objects of ours by the process that borrows them. */
  private readonly lentTo = new Map<WorkerId, Set<ObjectRecord>>();

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  private ownerLink(record: ObjectRecord): Link {
    const { owner, address } = record.foreign as NonNullable<ObjectRecord["foreign"]>;
    return this.runtime.peers.to(owner, this.runtime.addressOf(owner, address));
  }

  add(record: ObjectRecord): void {
    const owner = (record.foreign as NonNullable<ObjectRecord["foreign"]>).owner;
    const number = this.nextNumber++;
    let settle: () => void = () => {};
    const done = new Promise<void>((resolve) => {
      settle = resolve;
    });
    this.unanswered.set(number, { owner, record, done, settle });
    this.ownerLink(record).send([Kind.BorrowAdd, record.index, number]);
  }

  remove(record: ObjectRecord): void {
    const owner = (record.foreign as NonNullable<ObjectRecord["foreign"]>).owner;
    this.runtime.peers.existing(owner)?.send([Kind.BorrowRemove, record.index]);
  }

  /**
   * Waits for the registrations under way with owners other than `peer`; null when there are none. Those with `peer` itself need no wait:
   * what is sent to it next arrives after them. `peer` null: with all owners.
   */
  unregistered(peer: WorkerId | null): Promise<unknown> | null {
    if (this.unanswered.size === 0) return null;
    const others = [...this.unanswered.values()].filter((one) => one.owner !== peer);
    return others.length === 0 ? null : Promise.all(others.map((one) => one.done));
  }

  fetch(record: ObjectRecord): void {
    const number = this.nextNumber++;
    this.fetches.set(number, record);
    this.ownerLink(record).send([Kind.GetObject, number, record.index, true]);
  }

  reportLost(record: ObjectRecord, name: string): void {
    this.ownerLink(record).send([Kind.ObjectLost, record.index, name]);
    this.fetch(record);
  }

  /** Asks the owner of a borrowed ref to cancel the task that makes it. */
  cancel(record: ObjectRecord, force: boolean, recursive: boolean): void {
    this.ownerLink(record).send([Kind.CancelOwned, record.index, force, recursive]);
  }

  onMessage(from: WorkerId, message: PeerMessage, link: Link): void {
    switch (message[0]) {
      case Kind.GetObject:
        return this.answer(link, message[1], message[2], message[3]);
      case Kind.ObjectReply:
        return this.answered(message[1], message[2], message[3]);
      case Kind.BorrowAdd:
        return this.lend(from, message[1], message[2], link);
      case Kind.BorrowRemove:
        return this.takenBack(from, message[1]);
      case Kind.BorrowAck:
        return this.registered(message[1], message[2]);
      case Kind.ObjectLost:
        return this.lost(message[1], message[2]);
      case Kind.CancelOwned: {
        const record = this.runtime.ownership.owned.get(message[1]);
        if (record !== undefined) this.runtime.tasks.cancel(record, message[2], message[3]);
        return;
      }
    }
  }

  // -------------------------------------------------------------- as owner

  private answer(link: Link, request: number, index: ObjectIndex, fetch: boolean): void {
    const record = this.runtime.ownership.owned.get(index);
    if (record === undefined) return void link.send([Kind.ObjectReply, request, "error", this.freedError(index)]);
    if (isSettled(record)) return this.reply(link, request, record, fetch);
    this.runtime.objects.addWaiter(record, { settled: () => this.reply(link, request, record, fetch) });
  }

  private reply(link: Link, request: number, record: ObjectRecord, fetch: boolean): void {
    if (!fetch) link.send([Kind.ObjectReply, request, "ready", undefined]);
    else if (record.state === "stored") link.send([Kind.ObjectReply, request, "stored", [record.location as Location]]);
    else link.send([Kind.ObjectReply, request, record.state === "failed" ? "error" : "value", record.value]);
  }

  freedError(index: ObjectIndex): Uint8Array {
    const objectId = `${this.runtime.selfId}${index.toString(16).padStart(8, "0")}`;
    return this.runtime.encodeError(
      new ObjectLostError(`Cannot get object ${objectId}: its owner has freed it`, { objectId, reason: "freed by its owner" }),
    );
  }

  private lend(borrower: WorkerId, index: ObjectIndex, number: number, link: Link): void {
    const record = this.runtime.ownership.owned.get(index);
    if (record !== undefined) {
      step(this.runtime.ownership, { kind: "borrowerAdded", record, borrower });
      let lent = this.lentTo.get(borrower);
      if (lent === undefined) {
        lent = new Set();
        this.lentTo.set(borrower, lent);
      }
      lent.add(record);
    }
    link.send([Kind.BorrowAck, number, record !== undefined]);
  }

  private takenBack(borrower: WorkerId, index: ObjectIndex): void {
    const record = this.runtime.ownership.owned.get(index);
    if (record === undefined) return;
    step(this.runtime.ownership, { kind: "borrowerRemoved", record, borrower, all: false });
    if (record.borrowers?.has(borrower) !== true) this.lentTo.get(borrower)?.delete(record);
  }

  private lost(index: ObjectIndex, name: string): void {
    const record = this.runtime.ownership.owned.get(index);
    if (record === undefined || record.state !== "stored" || record.location?.name !== name) return;
    this.runtime.objects.reportLost(record);
  }

  // -------------------------------------------------------------- as borrower

  private registered(number: number, known: boolean): void {
    const entry = this.unanswered.get(number);
    if (entry === undefined) return;
    this.unanswered.delete(number);
    if (!known)
      step(this.runtime.ownership, { kind: "ownerLost", record: entry.record, error: this.freedError(entry.record.index) });
    entry.settle();
  }

  private answered(request: number, state: "value" | "stored" | "error" | "ready", payload: WireReturn): void {
    const record = this.fetches.get(request);
    if (record === undefined || state === "ready") return;
    this.fetches.delete(request);
    if (state === "stored")
      step(this.runtime.ownership, {
        kind: "resolved",
        record,
        outcome: "stored",
        value: undefined,
        location: (payload as readonly [Location])[0],
      });
    else {
      const value = payload instanceof Uint8Array ? new Uint8Array(payload) : (payload as undefined);
      step(this.runtime.ownership, { kind: "resolved", record, outcome: state, value, location: null });
    }
  }

  /** A process is gone: as a borrower of ours, and as the owner of what we borrow. */
  peerGone(peer: WorkerId): void {
    const lent = this.lentTo.get(peer);
    this.lentTo.delete(peer);
    for (const record of lent ?? []) step(this.runtime.ownership, { kind: "borrowerRemoved", record, borrower: peer, all: true });
    this.ownerDied(peer);
  }

  /** A node is gone, with every process on it. */
  nodeDied(nodeId: NodeId): void {
    const key = nodeKeyOf(nodeId);
    const known = new Set<WorkerId>(this.lentTo.keys());
    for (const { foreign } of this.runtime.ownership.borrowed.values()) known.add((foreign as Foreign).owner);
    for (const { owner } of this.unanswered.values()) known.add(owner);
    for (const peer of known) if (nodeKeyOf(peer) === key) this.peerGone(peer);
  }

  ownerDied(owner: WorkerId): void {
    for (const record of [...this.runtime.ownership.borrowed.values()]) {
      if (record.foreign?.owner !== owner) continue;
      step(this.runtime.ownership, {
        kind: "ownerLost",
        record,
        error: this.runtime.encodeError(this.runtime.ownerDiedError(record)),
      });
    }
    for (const [number, record] of this.fetches) if (record.foreign?.owner === owner) this.fetches.delete(number);
    for (const [number, entry] of this.unanswered) {
      if (entry.owner !== owner) continue;
      this.unanswered.delete(number);
      entry.settle();
    }
  }
}

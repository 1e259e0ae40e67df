/** Refs between simulated processes: what runtime/owner/borrows does, with callbacks for promises. */
import { type NodeId, nodeKeyOf, type ObjectIndex, type WorkerId } from "../src/base/ids.ts";
import { type Foreign, isSettled, type ObjectRecord } from "../src/core/object-record.ts";
import { step } from "../src/core/ownership.ts";
import type { Location } from "../src/objects/types.ts";
import { Kind } from "../src/wire/index.ts";
import type { AnyMessage, PeerMessage, WireReturn } from "../src/wire/messages.ts";
import type { Owner } from "./owner.ts";
import { encodeError } from "./value.ts";

interface Unregistered {
  readonly owner: string;
  readonly record: ObjectRecord;
  readonly whenDone: (() => void)[];
}

export class Borrows {
  private readonly process: Owner;
  private readonly unanswered = new Map<number, Unregistered>();
  private readonly fetches = new Map<number, ObjectRecord>();
  private readonly lentTo = new Map<string, Set<ObjectRecord>>();
  private nextNumber = 1;

  constructor(process: Owner) {
    this.process = process;
  }

  private send(record: ObjectRecord, message: PeerMessage): void {
    this.process.send(record.foreign!.owner, message as AnyMessage);
  }

  add(record: ObjectRecord): void {
    const number = this.nextNumber++;
    if (nodeKeyOf(record.foreign!.owner) !== nodeKeyOf(this.process.id)) this.process.shared.counts.borrowedOverNodes++;
    this.unanswered.set(number, { owner: record.foreign!.owner, record, whenDone: [] });
    this.send(record, [Kind.BorrowAdd, record.index, number]);
  }

  remove(record: ObjectRecord): void {
    if (this.process.connectedTo(record.foreign!.owner)) this.send(record, [Kind.BorrowRemove, record.index]);
  }

  /** Calls back when the registrations under way with owners other than `peer` are answered. */
  whenRegistered(peer: string, then: () => void): void {
    const others = [...this.unanswered.values()].filter((one) => one.owner !== peer);
    let left = others.length;
    if (left === 0) return then();
    for (const other of others) {
      other.whenDone.push(() => {
        if (--left === 0) then();
      });
    }
  }

  fetch(record: ObjectRecord): void {
    const number = this.nextNumber++;
    this.fetches.set(number, record);
    this.send(record, [Kind.GetObject, number, record.index, true]);
  }

  reportLost(record: ObjectRecord, name: string): void {
    this.send(record, [Kind.ObjectLost, record.index, name]);
    this.fetch(record);
  }

  onMessage(from: string, message: PeerMessage): void {
    switch (message[0]) {
      case Kind.GetObject:
        return this.answer(from, message[1], message[2]);
      case Kind.ObjectReply:
        return this.answered(message[1], message[2], message[3]);
      case Kind.BorrowAdd:
        return this.lend(from, message[1], message[2]);
      case Kind.BorrowRemove:
        return this.takenBack(from, message[1]);
      case Kind.BorrowAck:
        return this.registered(message[1], message[2]);
      case Kind.ObjectLost:
        return this.lost(message[1], message[2]);
    }
  }

  // -------------------------------------------------------------- as owner

  private answer(from: string, request: number, index: ObjectIndex): void {
    const record = this.process.ownership.owned.get(index);
    if (record === undefined) return this.process.send(from, [Kind.ObjectReply, request, "error", encodeError("FREED")]);
    if (isSettled(record)) return this.reply(from, request, record);
    this.process.addWaiter(record, () => this.reply(from, request, record));
  }

  private reply(to: string, request: number, record: ObjectRecord): void {
    if (record.state === "stored") this.process.send(to, [Kind.ObjectReply, request, "stored", [record.location]]);
    else this.process.send(to, [Kind.ObjectReply, request, record.state === "failed" ? "error" : "value", record.value]);
  }

  private lend(borrower: string, index: ObjectIndex, number: number): void {
    const record = this.process.ownership.owned.get(index);
    if (record !== undefined && this.process.shared.bug !== "forget borrowers") {
      step(this.process.ownership, { kind: "borrowerAdded", record, borrower: borrower as WorkerId });
      let lent = this.lentTo.get(borrower);
      if (lent === undefined) {
        lent = new Set();
        this.lentTo.set(borrower, lent);
      }
      lent.add(record);
    }
    this.process.send(borrower, [Kind.BorrowAck, number, record !== undefined]);
  }

  private takenBack(borrower: string, index: ObjectIndex): void {
    const record = this.process.ownership.owned.get(index);
    if (record === undefined) return;
    step(this.process.ownership, { kind: "borrowerRemoved", record, borrower: borrower as WorkerId, all: false });
    if (record.borrowers?.has(borrower as WorkerId) !== true) this.lentTo.get(borrower)?.delete(record);
  }

  private lost(index: ObjectIndex, name: string): void {
    const record = this.process.ownership.owned.get(index);
    if (record === undefined || record.state !== "stored" || record.location?.name !== name) return;
    this.process.recover(record, () => {});
  }

  // -------------------------------------------------------------- as borrower

  private registered(number: number, known: boolean): void {
    const entry = this.unanswered.get(number);
    if (entry === undefined) return;
    this.unanswered.delete(number);
    if (!known) step(this.process.ownership, { kind: "ownerLost", record: entry.record, error: encodeError("FREED") });
    for (const done of entry.whenDone) done();
  }

  private answered(request: number, state: string, payload: WireReturn): void {
    const record = this.fetches.get(request);
    if (record === undefined) return;
    this.fetches.delete(request);
    if (state === "stored") {
      const location = (payload as readonly [Location])[0];
      step(this.process.ownership, { kind: "resolved", record, outcome: "stored", value: undefined, location });
    } else {
      const outcome = state === "error" ? "error" : "value";
      step(this.process.ownership, { kind: "resolved", record, outcome, value: payload as string | Uint8Array, location: null });
    }
  }

  peerGone(peer: string): void {
    const lent = this.lentTo.get(peer);
    this.lentTo.delete(peer);
    for (const record of lent ?? []) {
      step(this.process.ownership, { kind: "borrowerRemoved", record, borrower: peer as WorkerId, all: true });
    }
    this.ownerDied(peer);
  }

  /** A node is gone, with every process on it. */
  nodeDied(nodeId: NodeId): void {
    const known = new Set<string>(this.lentTo.keys());
    for (const { foreign } of this.process.ownership.borrowed.values()) known.add((foreign as Foreign).owner);
    for (const { owner } of this.unanswered.values()) known.add(owner);
    for (const peer of known) if (nodeKeyOf(peer) === nodeKeyOf(nodeId)) this.peerGone(peer);
  }

  ownerDied(owner: string): void {
    for (const record of [...this.process.ownership.borrowed.values()]) {
      if (record.foreign?.owner === owner)
        step(this.process.ownership, { kind: "ownerLost", record, error: encodeError("OWNER_DIED") });
    }
    for (const [number, record] of this.fetches) if (record.foreign?.owner === owner) this.fetches.delete(number);
    for (const [number, entry] of this.unanswered) {
      if (entry.owner !== owner) continue;
      this.unanswered.delete(number);
      for (const done of entry.whenDone) done();
    }
  }

  /** Nothing is under way. */
  get quiet(): boolean {
    return this.unanswered.size === 0 && this.fetches.size === 0;
  }
}

/**
 * The conversation before anything else is read:
 *
 *     dialler                        acceptor
 *     Hello            ->
 *                      <-            Hello
 *     Proof            ->
 *                      <-            Accepted (its proof)
 *
 * The dialling side proves first, so that whoever connects gets nothing computed from the token. Either may say Refused instead and close.
 */

import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { clearTimeout, setTimeout } from "../../base/clock.ts";
import type { NodeId } from "../../base/ids.ts";
import { FrameError } from "../../wire/frame.ts";
import {
  connectionId,
  decodeHello,
  decodeRefusal,
  encodeHello,
  encodeRefusal,
  type NodeHello,
  nonceBytes,
  type Purpose,
  proofBytes,
  proofOf,
  RefusalCode,
  sameProof,
  versionOfHello,
} from "../../wire/handshake.ts";
import { handshakeMs, protocolVersion } from "../../wire/limits.ts";
import { encodeFrame, FrameKind, type NodeFrame } from "../../wire/node-frame.ts";
import { HandshakeReader, Refusal } from "./handshake-reader.ts";

/** Who we are to the other side. */
export interface Identity {
  readonly nodeId: NodeId;
  readonly token: string;
  clusterId(): string | null;
  /** Only tests of the refusal of other versions set it. */
  readonly version?: number;
}

export interface Handshaken {
  readonly peer: NodeId;
  readonly purpose: Purpose;
  /** Names this connection to both sides. */
  readonly connectionId: Buffer;
  /** Read already, behind the handshake. */
  readonly rest: Buffer;
}

/** No connection: what a proof carries when its maker has had none with this peer. */
export const noConnection: Buffer = Buffer.alloc(32);

/** What to do with a peer that has proved itself: take it, refuse it, or decide again when the promise settles. */
export type Decision = "accept" | "duplicate" | Promise<void>;

export interface AcceptRules {
  /** Given a function that ends the handshake from outside. */
  onStarted?(refuse: (refusal: Refusal) => void): void;
  /** `lastConnection`: the connection with us that the peer had last, as far as it knows. */
  decide(peer: NodeId, purpose: Purpose, lastConnection: Buffer): Decision;
  /** Called in the same turn in which the acceptance is written. Takes the socket, paused. */
  onAccepted(result: Handshaken): void;
}

/** Accepts a connection. Rejects with a `Refusal`, after telling the other side where it can read that. Takes `socket`. */
export async function acceptHandshake(
  socket: Duplex,
  self: Identity,
  rules: AcceptRules,
  timeoutMs = handshakeMs,
): Promise<void> {
  const reader = new HandshakeReader(socket, timeoutMs);
  rules.onStarted?.((refusal) => reader.fail(refusal));
  try {
    const theirs = await reader.next();
    const hello = readHello(theirs, self);
    refuseOtherCluster(hello, self);
    if (hello.nodeId === self.nodeId) throw new Refusal(RefusalCode.Other, `it says it is this node itself, ${self.nodeId}`);
    const ours = encodeHello(helloOf(self, hello.purpose));
    socket.write(encodeFrame(FrameKind.Hello, 0, ours));

    const proof = await expect(reader, FrameKind.Proof);
    if (proof.body.length !== proofBytes + noConnection.length)
      throw new Refusal(RefusalCode.Other, `its proof has ${proof.body.length} bytes`);
    const last = proof.body.subarray(proofBytes);
    if (!sameProof(proofOf(self.token, "dialler", theirs.body, ours, last), proof.body.subarray(0, proofBytes)))
      throw wrongToken();

    for (;;) {
      const decision = rules.decide(hello.nodeId, hello.purpose, last);
      if (decision === "accept") break;
      if (decision === "duplicate")
        throw new Refusal(RefusalCode.Duplicate, "these two nodes are connected already", { quiet: true });
      await decision;
      if (socket.destroyed) throw new Refusal(RefusalCode.Other, "it closed the connection", { quiet: true });
    }
    socket.write(encodeFrame(FrameKind.Accepted, 0, proofOf(self.token, "acceptor", theirs.body, ours, last)));
    rules.onAccepted({
      peer: hello.nodeId,
      purpose: hello.purpose,
      connectionId: connectionId(theirs.body, ours),
      rest: reader.release(),
    });
  } catch (error) {
    reader.release();
    sayRefused(socket, error);
    throw error;
  }
}

export interface DialRules {
  /** Given a function that ends the handshake from outside. */
  onStarted?(refuse: (refusal: Refusal) => void): void;
  readonly purpose: Purpose;
  /** Who is expected there; null when that is what dialling is to find out. */
  readonly expected: NodeId | null;
  /** The peer's id, not proved yet. Returns the last connection with it, or throws a `Refusal` to give up. */
  onHello(peer: NodeId): Buffer;
  /** Called as soon as the peer's acceptance is read. Takes the socket, paused. */
  onAccepted(result: Handshaken): void;
}

/** The dialling side. Rejects with a `Refusal`. Takes `socket`, connected. */
export async function dialHandshake(socket: Duplex, self: Identity, rules: DialRules, timeoutMs: number): Promise<void> {
  const reader = new HandshakeReader(socket, timeoutMs);
  rules.onStarted?.((refusal) => reader.fail(refusal));
  try {
    const ours = encodeHello(helloOf(self, rules.purpose));
    socket.write(encodeFrame(FrameKind.Hello, 0, ours));
    const theirs = await reader.next();
    const hello = readHello(theirs, self);
    refuseOtherCluster(hello, self);
    if (hello.purpose !== rules.purpose) throw new Refusal(RefusalCode.Other, "it answers for another purpose");
    if (hello.nodeId === self.nodeId) throw new Refusal(RefusalCode.Other, `this node itself, ${self.nodeId}, answers there`);
    if (rules.expected !== null && hello.nodeId !== rules.expected)
      throw new Refusal(RefusalCode.Other, `node ${hello.nodeId} answers there, not ${rules.expected}`);
    const last = rules.onHello(hello.nodeId);
    const proof = proofOf(self.token, "dialler", ours, theirs.body, last);
    socket.write(encodeFrame(FrameKind.Proof, 0, Buffer.concat([proof, last])));

    const accepted = await expect(reader, FrameKind.Accepted);
    if (!sameProof(proofOf(self.token, "acceptor", ours, theirs.body, last), accepted.body)) throw wrongToken();
    rules.onAccepted({
      peer: hello.nodeId,
      purpose: rules.purpose,
      connectionId: connectionId(ours, theirs.body),
      rest: reader.release(),
    });
  } catch (error) {
    reader.release();
    sayRefused(socket, error);
    throw error;
  }
}

/** Reads one frame more, of an authenticated peer, within the time; returns it with what was read beyond it. */
export async function readOne(
  socket: Duplex,
  rest: Buffer,
  limits: ReadonlyMap<number, number>,
): Promise<{ frame: NodeFrame; rest: Buffer }> {
  if (rest.length > 0) socket.unshift(rest);
  const reader = new HandshakeReader(socket, handshakeMs, false);
  try {
    return { frame: await reader.next(limits), rest: reader.release() };
  } catch (error) {
    reader.release();
    throw error;
  }
}

function helloOf(self: Identity, purpose: Purpose): NodeHello {
  return {
    version: self.version ?? protocolVersion,
    purpose,
    nodeId: self.nodeId,
    clusterId: self.clusterId(),
    nonce: randomBytes(nonceBytes),
  };
}

async function expect(reader: HandshakeReader, kind: number): Promise<NodeFrame> {
  const frame = await reader.next();
  if (frame.kind === FrameKind.Refused) throw refusalSaid(frame);
  if (frame.kind !== kind) throw new Refusal(RefusalCode.Other, `it sent a frame of kind ${frame.kind} where ${kind} comes next`);
  return frame;
}

function readHello(frame: NodeFrame, self: Identity): NodeHello {
  if (frame.kind === FrameKind.Refused) throw refusalSaid(frame);
  const ours = self.version ?? protocolVersion;
  try {
    if (frame.kind !== FrameKind.Hello) throw new FrameError(`it sent a frame of kind ${frame.kind} first`);
    const version = versionOfHello(frame.body);
    if (version !== ours)
      throw new Refusal(RefusalCode.Version, `it speaks protocol ${version}, this node ${ours}`, {
        toPeer: `it speaks protocol ${ours}, this node ${version}`,
      });
    return decodeHello(frame.body);
  } catch (error) {
    throw error instanceof FrameError ? new Refusal(RefusalCode.Other, error.message) : error;
  }
}

const wrongToken = (): Refusal =>
  new Refusal(RefusalCode.Authentication, "it does not know the cluster's token", { toPeer: "it has another token" });

function refuseOtherCluster(hello: NodeHello, self: Identity): void {
  const ours = self.clusterId();
  if (ours !== null && hello.clusterId !== null && hello.clusterId !== ours)
    throw new Refusal(RefusalCode.Cluster, `it is in cluster ${hello.clusterId}, this node in ${ours}`, {
      toPeer: `it is in cluster ${ours}, this node in ${hello.clusterId}`,
    });
}

/** A peer's own words. A duplicate is part of how two nodes that dial each other agree, and nothing to report. */
function refusalSaid(frame: NodeFrame): Refusal {
  const { code, text } = decodeRefusal(frame.body);
  return new Refusal(code as RefusalCode, text, { quiet: code === RefusalCode.Duplicate, understood: false });
}

/** How long a refused peer gets to read why. */
const refusalLingerMs = 1_000;

/** Tells the other side, where it can understand that, and closes. Input is read and thrown away: closing with it unread would destroy the answer. */
export function sayRefused(socket: Duplex, error: unknown): void {
  if (socket.destroyed) return;
  socket.on("error", () => {});
  if (!(error instanceof Refusal) || !error.understood) return void socket.destroy();
  socket.end(encodeFrame(FrameKind.Refused, 0, encodeRefusal(error.code, error.toPeer)));
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), refusalLingerMs);
  timer.unref();
  socket.once("close", () => clearTimeout(timer));
}

/**
 * What two daemons tell each other before anything else, and how each proves that it knows the cluster's token without saying it.
 * Bytes only; the conversation is runtime/transport/handshake.ts. The beginning of a hello (magic and version) and refusals never
 * change between versions, so that any two can say why they cannot talk.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { NodeId } from "../base/ids.ts";
import { FrameError } from "./frame.ts";
import { protocolVersion } from "./limits.ts";

export type Purpose = "mux" | "bulk";

export interface NodeHello {
  readonly version: number;
  readonly purpose: Purpose;
  readonly nodeId: NodeId;
  /** The cluster it is a member of; null while it joins one. */
  readonly clusterId: string | null;
  readonly nonce: Buffer;
}

const magic = Buffer.from("SHOALNOD", "latin1");
export const nonceBytes = 32;
const versionAt = magic.length;
const purposeAt = versionAt + 2;
const nonceAt = purposeAt + 1;
const idAt = nonceAt + nonceBytes;
const clusterIdMax = 64;

export function encodeHello(hello: NodeHello): Buffer {
  const cluster = hello.clusterId ?? "";
  const body = Buffer.alloc(idAt + 16 + 1 + cluster.length);
  magic.copy(body, 0);
  body.writeUInt16LE(hello.version, versionAt);
  body[purposeAt] = hello.purpose === "mux" ? 1 : 2;
  hello.nonce.copy(body, nonceAt);
  body.write(hello.nodeId, idAt, "latin1");
  body[idAt + 16] = cluster.length;
  body.write(cluster, idAt + 17, "latin1");
  return body;
}

/** Version of a peer from the part of its hello that is the same in all versions. Throws `FrameError` when it is no hello. */
export function versionOfHello(body: Buffer): number {
  if (body.length < purposeAt || !body.subarray(0, magic.length).equals(magic))
    throw new FrameError("Cannot read the first frame as a hello");
  return body.readUInt16LE(versionAt);
}

/** A hello of our own version. Throws `FrameError`. */
export function decodeHello(body: Buffer): NodeHello {
  const version = versionOfHello(body);
  const wrong = (what: string): FrameError => new FrameError(`Cannot read the hello: ${what}`);
  if (body.length < idAt + 17 || body.length !== idAt + 17 + body[idAt + 16]) throw wrong(`it has ${body.length} bytes`);
  const purpose = body[purposeAt];
  if (purpose !== 1 && purpose !== 2) throw wrong(`its purpose is ${purpose}`);
  const nodeId = body.toString("latin1", idAt, idAt + 16);
  if (!/^[0-9a-f]{16}$/.test(nodeId)) throw wrong("its node id is not 16 hex digits");
  const clusterId = body.toString("latin1", idAt + 17);
  if (clusterId.length > clusterIdMax || !/^[\w.:-]*$/.test(clusterId))
    throw wrong("its cluster id has characters of another kind");
  return {
    version,
    purpose: purpose === 1 ? "mux" : "bulk",
    nodeId: nodeId as NodeId,
    clusterId: clusterId === "" ? null : clusterId,
    nonce: body.subarray(nonceAt, idAt),
  };
}

/** False when `bytes`, the beginning of a connection, cannot become the frame of a hello. */
export function looksLikeHello(bytes: Buffer, headerBytes: number): boolean {
  const start = bytes.subarray(headerBytes, headerBytes + magic.length);
  return start.equals(magic.subarray(0, start.length));
}

// ---------------------------------------------------------------- proofs

export const proofBytes = 32;

/** Names one connection: the hash of both hellos, which hold both nonces. */
export function connectionId(dialler: Buffer, acceptor: Buffer): Buffer {
  return createHash("sha256").update(framed(dialler)).update(framed(acceptor)).digest();
}

/**
 * Proof of the token for one role of one connection. Both hellos are in it whole: nonces (no replay), ids, versions, purpose and
 * cluster; the role's name keeps a proof from being sent back to its maker. `extra` is what else it vouches for.
 */
export function proofOf(token: string, role: "dialler" | "acceptor", dialler: Buffer, acceptor: Buffer, extra: Buffer): Buffer {
  return createHmac("sha256", token)
    .update(`shoal node ${role} ${protocolVersion}\0`)
    .update(framed(dialler))
    .update(framed(acceptor))
    .update(framed(extra))
    .digest();
}

export function sameProof(expected: Buffer, given: Buffer): boolean {
  return expected.length === given.length && timingSafeEqual(expected, given);
}

const framed = (part: Buffer): Buffer => {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(part.length, 0);
  return Buffer.concat([length, part]);
};

// ---------------------------------------------------------------- refusals

/** Why a connection is refused. Numbers are part of the protocol, in all versions. */
export const RefusalCode = { Other: 0, Authentication: 1, Version: 2, Cluster: 3, Duplicate: 4, Busy: 5 } as const;
export type RefusalCode = (typeof RefusalCode)[keyof typeof RefusalCode];

const refusalTextMax = 400;

export function encodeRefusal(code: RefusalCode, text: string): Buffer {
  return Buffer.concat([Buffer.from([code]), Buffer.from(text, "utf8").subarray(0, refusalTextMax)]);
}

/** Whatever the bytes are: they come from a peer that has proved nothing, so only printable text is kept. */
export function decodeRefusal(body: Buffer): { code: number; text: string } {
  const text = body.toString("utf8", 1, 1 + refusalTextMax).replace(/[^\x20-\x7e]/g, "?");
  return { code: body[0] ?? RefusalCode.Other, text };
}

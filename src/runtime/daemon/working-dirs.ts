/**
 * Working directories on nodes other than the driver's. The driver's node packs the directory when the first worker elsewhere needs it, once per job, so
 * that all workers of a job see the same files; the other node takes the pack piece by piece and unpacks it once.
 */
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { open, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { JobId, NodeId } from "../../base/ids.ts";

export interface PackedDirectory {
  readonly hash: string;
  /** Of the pack. */
  readonly bytes: number;
}

export interface WantedDirectory {
  readonly jobId: JobId;
  readonly path: string;
  readonly excludes: readonly string[];
}

/** Loaded when it is needed: most sessions never do. */
const dirPack = () => import("./dir-pack.ts");

/** Asks another node's daemon. */
export type AskNode = (node: NodeId, method: "packDirectory" | "readPack", params: unknown, timeoutMs: number) => Promise<any>;

/** Bytes of one piece of a pack: large enough to keep a connection busy, small enough not to hold up what else travels on it. */
export const pieceBytes = 4 * 1024 * 1024;
/** Pieces asked for and not arrived. */
const piecesInFlight = 2;

export class WorkingDirs {
  private readonly directory: string;
  private readonly ask: AskNode;
  /** By job, path and excludes; a failed one is removed. */
  private readonly packs = new Map<string, Promise<PackedDirectory>>();
  private readonly fetches = new Map<string, Promise<string>>();

  /** Keeps packs and what was unpacked below `directory`. */
  constructor(directory: string, ask: AskNode) {
    this.directory = directory;
    this.ask = ask;
  }

  // -------------------------------------------------------------- the driver's node

  pack(wanted: WantedDirectory): Promise<PackedDirectory> {
    return once(this.packs, nameOf(wanted), () => this.packNow(wanted));
  }

  async read(hash: string, offset: number, bytes: number): Promise<Uint8Array> {
    const file = await open(this.packPath(hash), "r");
    try {
      const piece = Buffer.alloc(Math.min(bytes, pieceBytes));
      const { bytesRead } = await file.read(piece, 0, piece.length, offset);
      return piece.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  }

  private async packNow({ path, excludes }: WantedDirectory): Promise<PackedDirectory> {
    const found = await stat(path).catch(() => null);
    if (found?.isDirectory() !== true)
      throw new Error(`Cannot use '${path}' as working directory as it is not a directory on the driver's node`);
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    const unfinished = this.packPath(`unfinished-${randomUUID()}`);
    try {
      const { packDirectory } = await dirPack();
      const hash = await packDirectory(path, excludes, unfinished);
      await rename(unfinished, this.packPath(hash));
      return { hash, bytes: (await stat(this.packPath(hash))).size };
    } catch (error) {
      await rm(unfinished, { force: true });
      throw error;
    }
  }

  // -------------------------------------------------------------- other nodes

  /** Resolves with where the directory is on this node. Rejects with an Error whose message is for the user. */
  fetch(from: NodeId, wanted: WantedDirectory, timeoutMs: number): Promise<string> {
    return once(this.fetches, `${from}\n${nameOf(wanted)}`, async () => {
      const packed = (await this.ask(from, "packDirectory", wanted, timeoutMs)) as PackedDirectory;
      const place = join(this.directory, packed.hash);
      // Two jobs may have the same content.
      return once(this.fetches, packed.hash, async () => {
        if (!existsSync(place)) await this.bring(from, packed, place, timeoutMs);
        return place;
      });
    });
  }

  private async bring(from: NodeId, { hash, bytes }: PackedDirectory, place: string, timeoutMs: number): Promise<void> {
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    const pack = this.packPath(`${hash}.arriving`);
    const unfinished = `${place}.unfinished`;
    await rm(unfinished, { recursive: true, force: true });
    try {
      await this.take(from, hash, bytes, pack, timeoutMs);
      const { unpackDirectory } = await dirPack();
      await unpackDirectory(pack, unfinished);
      await rename(unfinished, place);
    } finally {
      await rm(pack, { force: true });
      await rm(unfinished, { recursive: true, force: true });
    }
  }

  private async take(from: NodeId, hash: string, bytes: number, pack: string, timeoutMs: number): Promise<void> {
    const file = await open(pack, "w", 0o600);
    try {
      let next = 0;
      const lane = async (): Promise<void> => {
        while (next < bytes) {
          const offset = next;
          next += pieceBytes;
          const length = Math.min(pieceBytes, bytes - offset);
          const piece = (await this.ask(from, "readPack", { hash, offset, bytes: length }, timeoutMs)) as Uint8Array;
          if (piece.length !== length)
            throw new Error(`Cannot take a working directory from node ${from} as a piece of it has ${piece.length} bytes`);
          await file.write(piece, 0, piece.length, offset);
        }
      };
      await Promise.all(Array.from({ length: piecesInFlight }, lane));
    } finally {
      await file.close();
    }
  }

  private packPath(name: string): string {
    return join(this.directory, `${name}.pack`);
  }
}

function nameOf({ jobId, path, excludes }: WantedDirectory): string {
  return JSON.stringify([jobId, path, excludes]);
}

/** One run for all who ask; after a failure the next one tries again. */
function once<T>(running: Map<string, Promise<T>>, key: string, run: () => Promise<T>): Promise<T> {
  let promise = running.get(key);
  if (promise === undefined) {
    promise = run();
    promise.catch(() => running.delete(key));
    running.set(key, promise);
  }
  return promise;
}

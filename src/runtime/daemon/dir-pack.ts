/**
 * A directory as one file, to be unpacked on another node: gzip over entries, each a length, a header and the content. Entries are in order, so equal
 * directories have equal packs, and the hash of the content names them.
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { lstat, mkdir, open, readdir, readlink, realpath, stat, symlink } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";
import ignore, { type Ignore } from "ignore";

/** Bytes of a directory that travels, as in Ray. Without a bound a home directory named by mistake would be copied to every node. At it: an error that names the largest file. */
export const directoryBytesMax = 500 * 1024 * 1024;

/** Never part of a program. */
const alwaysExcluded = [".git"];

interface Entry {
  /** Below the directory, with slashes. */
  readonly path: string;
  /** Bytes that follow; 0 for others than files. */
  readonly bytes: number;
  readonly mode: number;
  readonly kind: "file" | "directory" | "link";
  /** Of a link. */
  readonly target: string;
}

interface Found extends Entry {
  readonly source: string;
}

/** Writes the pack of `directory` without what `excludes` (as in .gitignore) matches; resolves with the hash of its content. */
export async function packDirectory(
  directory: string,
  excludes: readonly string[],
  packPath: string,
  bytesMax = directoryBytesMax,
): Promise<string> {
  const walk = new Walk(await realpath(directory), ignore().add([...alwaysExcluded, ...excludes]), bytesMax);
  await walk.enter("");
  const hash = createHash("sha256");
  async function* content(): AsyncGenerator<Buffer> {
    for (const { source, ...entry } of walk.found) {
      yield headerOf(entry);
      if (entry.bytes > 0) yield* exactly(source, entry.bytes);
    }
  }
  async function* hashed(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      hash.update(chunk);
      yield chunk;
    }
  }
  await pipeline(Readable.from(hashed(content())), createGzip({ level: 1 }), createWriteStream(packPath, { mode: 0o600 }));
  return hash.digest("hex").slice(0, 32);
}

class Walk {
  readonly found: Found[] = [];
  private readonly root: string;
  private readonly filter: Ignore;
  private readonly bytesMax: number;
  private readonly visited = new Set<string>();
  private bytes = 0;

  constructor(root: string, filter: Ignore, bytesMax: number) {
    this.root = root;
    this.filter = filter;
    this.bytesMax = bytesMax;
  }

  async enter(below: string): Promise<void> {
    const here = join(this.root, below);
    const real = await realpath(here);
    if (this.visited.has(real)) return; // a link to a directory around it
    this.visited.add(real);
    const names = (await readdir(here)).sort();
    for (const name of names) await this.add(below === "" ? name : `${below}/${name}`);
  }

  private async add(path: string): Promise<void> {
    const source = join(this.root, path);
    const own = await lstat(source);
    if (own.isSymbolicLink()) {
      const target = await readlink(source);
      if (!isOutside(relative(this.root, resolve(dirname(source), target))) && !target.startsWith(sep)) {
        if (!this.filter.ignores(path)) this.found.push({ path, source, bytes: 0, mode: 0, kind: "link", target });
        return;
      }
    }
    // What is outside does not exist there, so it travels in the place of the link.
    const { mode, size, isDirectory, isFile } = await kindOf(source);
    if (this.filter.ignores(isDirectory ? `${path}/` : path)) return;
    if (isDirectory) {
      this.found.push({ path, source, bytes: 0, mode, kind: "directory", target: "" });
      await this.enter(path);
    } else if (isFile) {
      this.found.push({ path, source, bytes: size, mode, kind: "file", target: "" });
      this.bytes += size;
      if (this.bytes > this.bytesMax) throw this.tooLarge();
    }
  }

  private tooLarge(): Error {
    const largest = this.found.reduce((a, b) => (b.bytes > a.bytes ? b : a));
    return new Error(
      `Cannot send working directory ${this.root} to another node as it has more than ${this.bytesMax} bytes; the largest file seen is ${largest.path} with ${largest.bytes}: leave out what is not needed with runtimeEnv.excludes`,
    );
  }
}

async function kindOf(path: string): Promise<{ mode: number; size: number; isDirectory: boolean; isFile: boolean }> {
  try {
    const { mode, size, ...stats } = await stat(path).then((found) => ({
      mode: found.mode & 0o777,
      size: found.size,
      isDirectory: found.isDirectory(),
      isFile: found.isFile(),
    }));
    return { mode, size, ...stats };
  } catch {
    return { mode: 0, size: 0, isDirectory: false, isFile: false }; // a link to nowhere, or it is gone meanwhile
  }
}

/** The size is told before the content: a file that grows or shrinks meanwhile is cut or filled up. */
async function* exactly(path: string, bytes: number): AsyncGenerator<Buffer> {
  let left = bytes;
  for await (const chunk of createReadStream(path, { end: bytes - 1 })) {
    left -= (chunk as Buffer).length;
    yield chunk as Buffer;
  }
  if (left > 0) throw new Error(`Cannot send ${path} as it became shorter while it was read`);
}

function headerOf(entry: Entry): Buffer {
  const text = Buffer.from(JSON.stringify(entry));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  return Buffer.concat([length, text]);
}

function isOutside(below: string): boolean {
  return below === ".." || below.startsWith(`..${sep}`) || below.startsWith(sep);
}

/** Bytes of one entry's header: a path and a few numbers. */
const headerBytesMax = 64 * 1024;

/** Unpacks into `directory`, which is made. Rejects for a pack that is cut off, or that names a place outside. */
export async function unpackDirectory(packPath: string, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const file = createReadStream(packPath);
  const unzipped = createGunzip();
  file.on("error", (error) => unzipped.destroy(error));
  const input = new Input(file.pipe(unzipped));
  try {
    for (let entry = await nextEntry(input); entry !== null; entry = await nextEntry(input))
      await restore(entry, join(directory, entry.path), input);
  } finally {
    file.destroy();
    unzipped.destroy();
  }
}

async function nextEntry(input: Input): Promise<Entry | null> {
  if (await input.isOver()) return null;
  const length = (await input.take(4)).readUInt32LE(0);
  if (length > headerBytesMax) throw new Error(`Cannot unpack as an entry's header has ${length} bytes`);
  const entry = JSON.parse((await input.take(length)).toString()) as Entry;
  if (isOutside(join(entry.path))) throw new Error(`Cannot unpack '${entry.path}' as it is outside of the directory`);
  return entry;
}

async function restore({ kind, mode, bytes, target }: Entry, path: string, input: Input): Promise<void> {
  if (kind === "directory") {
    await mkdir(path, { recursive: true, mode: mode | 0o700 });
    return;
  }
  if (kind === "link") return symlink(target, path);
  const file = await open(path, "w", mode | 0o600);
  try {
    for (let left = bytes; left > 0; ) {
      const chunk = await input.some(left);
      await file.writeFile(chunk);
      left -= chunk.length;
    }
  } finally {
    await file.close();
  }
}

/** A stream from which exact numbers of bytes are taken. */
class Input {
  private readonly chunks: AsyncIterator<Buffer>;
  private rest: Buffer = Buffer.alloc(0);

  constructor(stream: AsyncIterable<unknown>) {
    this.chunks = (stream as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  async isOver(): Promise<boolean> {
    return this.rest.length === 0 && !(await this.more());
  }

  async take(bytes: number): Promise<Buffer> {
    while (this.rest.length < bytes)
      if (!(await this.more())) throw new Error("Cannot unpack a directory as its pack is cut off");
    return this.cut(bytes);
  }

  /** What is there, up to `bytesMax`. */
  async some(bytesMax: number): Promise<Buffer> {
    if (await this.isOver()) throw new Error("Cannot unpack a directory as its pack is cut off");
    return this.cut(Math.min(bytesMax, this.rest.length));
  }

  private cut(bytes: number): Buffer {
    const taken = this.rest.subarray(0, bytes);
    this.rest = this.rest.subarray(bytes);
    return taken;
  }

  private async more(): Promise<boolean> {
    const { value, done } = await this.chunks.next();
    if (done === true) return false;
    this.rest = this.rest.length === 0 ? value : Buffer.concat([this.rest, value]);
    return true;
  }
}

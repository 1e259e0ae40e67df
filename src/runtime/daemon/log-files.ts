/** The log files of this node, for those who look at them from elsewhere: listed, and read in parts so that no file has to fit into memory. */
import { constants } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { NodeId } from "../../base/ids.ts";
import type { LogFileView, LogPart } from "./methods.ts";

/** Bytes of one answer. */
export const logPartBytesMax = 1024 * 1024;

export class LogFiles {
  private readonly dir: string;
  private readonly nodeId: NodeId;

  constructor(sessionDir: string, nodeId: NodeId) {
    this.dir = join(sessionDir, "logs");
    this.nodeId = nodeId;
  }

  async list(): Promise<LogFileView[]> {
    const names = (await readdir(this.dir)).sort();
    const views = await Promise.all(
      names.map(async (file) => {
        const found = await stat(join(this.dir, file)).catch(() => null); // rotated away meanwhile
        return found?.isFile() ? [{ nodeId: this.nodeId, file, bytes: found.size }] : [];
      }),
    );
    return views.flat();
  }

  /** At most `bytes` of the file, from `from` on, and how long it is now. Throws when there is no such file. */
  async read(file: string, from: number, bytes: number): Promise<LogPart> {
    const refused = `Cannot read log '${file}' of node ${this.nodeId}`;
    if (file === "" || file === "." || file === ".." || basename(file) !== file)
      throw new Error(`${refused} as that is not a file's name`);
    const handle = await open(join(this.dir, file), constants.O_RDONLY | constants.O_NOFOLLOW).catch((error: Error) => {
      throw new Error(`${refused}: ${(error as NodeJS.ErrnoException).code ?? error.message}`);
    });
    try {
      const { size } = await handle.stat();
      const part = Buffer.alloc(Math.min(bytes, logPartBytesMax, Math.max(0, size - from)));
      const bytesRead = part.length === 0 ? 0 : (await handle.read(part, 0, part.length, from)).bytesRead;
      return { bytes: part.subarray(0, bytesRead), size };
    } finally {
      await handle.close();
    }
  }
}

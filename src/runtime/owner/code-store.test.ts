/** Two nodes with a code directory each, and a head between them. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { JobId } from "../../base/ids.ts";
import { capture, revive } from "../../functions/index.ts";
import type { CaptureContext, CodeFiles } from "../../functions/types.ts";
import { NodeCode } from "../daemon/node-code.ts";
import { CodeTable } from "../head/code-table.ts";
import { MemoryControlStore } from "../head/control-store.ts";
import { codeEntryBytesMax, DirectoryCodeStore } from "./code-store.ts";

let dir: string;
let table: CodeTable;
let asked: string[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "shoal-code-"));
  const store = new MemoryControlStore();
  table = new CodeTable(
    () => store,
    () => true,
  );
  asked = [];
});
afterEach(() => rmSync(dir, { recursive: true }));

class Node {
  readonly directory: string;
  private readonly daemon: NodeCode;

  constructor(name: string) {
    this.directory = join(dir, name);
    mkdirSync(this.directory);
    this.daemon = new NodeCode(this.directory, (key) => {
      asked.push(key);
      return table.get(key);
    });
  }

  process(open = true): DirectoryCodeStore {
    return new DirectoryCodeStore(this.directory, {
      isOpen: () => open,
      put: (key: string, files: CodeFiles) => table.put(key, structuredClone(files), "aaaaaaaa" as JobId),
      fetch: (key) => this.daemon.fetch(key),
    });
  }
}

const contextOf = (code: DirectoryCodeStore): CaptureContext => ({
  code,
  encode: {
    encodeSpecial: (value) =>
      typeof value === "function" ? { tag: "function", data: capture(value, contextOf(code)).key } : undefined,
    encodeClass: (Class) => capture(Class, contextOf(code)).key,
  },
  decode: {
    decodeSpecial: () => undefined,
    decodeClass: (key) => {
      throw new Error(key);
    },
  },
});
const key = "0123456789abcdef0123456789abcdef";

describe("Code in a cluster", () => {
  it("of one node is fetched by another, once for all its processes, before or after it was put", async () => {
    const here = new Node("here").process();
    const there = new Node("there");
    const early = [there.process().fetch(key), there.process().fetch(key)];
    here.write(key, { ".mjs": "export default 1;", ".env": new Uint8Array([7]) });
    const [path] = await Promise.all(early);
    expect(readFileSync(path, "utf8")).toBe("export default 1;");
    expect([...readFileSync(path.replace(".mjs", ".env"))]).toEqual([7]);
    expect(await there.process().fetch(key)).toBe(path);
    expect(asked).toEqual([key]);
  });

  it("includes the classes that a function uses", async () => {
    class Base {
      twice(x: number): number {
        return 2 * x;
      }
    }
    class Derived extends Base {}
    const here = contextOf(new Node("here").process());
    const there = new Node("there");
    const captured = capture((x: number) => new Derived().twice(x), here);
    // Reviving in the process that captured gives the original, so what the other node would load is looked at instead.
    const path = await there.process().fetch(captured.key);
    const { dependencies } = (await import(path)) as { dependencies: { key: string }[] };
    expect(dependencies).toHaveLength(1);
    await there.process().fetch(dependencies[0].key);
    expect(readdirSync(there.directory).filter((name) => name.endsWith(".mjs")).length).toBe(2);
    expect(await revive(captured.key, here)).toBeTypeOf("function");
  });

  it("that another process of the node has written is put again by each that sends it", () => {
    const node = new Node("here");
    node.process().write(key, { ".mjs": "1" });
    expect(node.process().has(key)).toBe(false);
    expect(node.process(false).has(key)).toBe(true);
  });

  it("that nobody knows is an error that names it", async () => {
    const none = new NodeCode(dir, () => null);
    await expect(none.fetch(key)).rejects.toThrow(`Cannot load function ${key} as the head of the cluster does not know it`);
    await expect(new Node("alone").process(false).fetch(key)).rejects.toThrow(/its module is not in/);
  });

  it("of more than one message is refused where it is captured", () => {
    const large = new Uint8Array(codeEntryBytesMax + 1);
    expect(() => new Node("here").process().write(key, { ".mjs": "1", ".env": large })).toThrow(/captured values of 134217730/);
  });
});

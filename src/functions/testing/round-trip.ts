/**
 * Sends functions to another process and calls them there, with nothing of the runtime in between. Used by unit tests, and by the programs
 * they run. Not part of the library.
 */
import { type ChildProcess, fork } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { capture } from "../capture.ts";

import type { CaptureContext, Captured, CodeFiles, CodeStore, CodeSuffix } from "../types.ts";

/** Stands for an ObjectRef: the runtime has its own way to send it. */
export class FakeRef {
  readonly id: number;
  constructor(id: number) {
    this.id = id;
  }
}

/** Stands for what `remote(fn)` gives. */
export function fakeRemote(inner: Function): Function & { inner: Function } {
  const remote = Object.assign(
    () => {
      throw new TypeError("use .remote()");
    },
    { inner, remotely: true },
  );
  return remote;
}

export class DirectoryCode implements CodeStore {
  readonly directory: string;
  constructor(directory: string) {
    this.directory = directory;
  }
  has(key: string, main: CodeSuffix = ".mjs"): boolean {
    return existsSync(join(this.directory, key + main));
  }
  write(key: string, files: CodeFiles): void {
    for (const suffix of Object.keys(files)) writeFileSync(join(this.directory, key + suffix), files[suffix]);
  }
  async fetch(key: string, main: CodeSuffix = ".mjs"): Promise<string> {
    return join(this.directory, key + main);
  }
}

export function contextIn(directory: string, shipsFiles = false): CaptureContext {
  const context: CaptureContext = {
    shipsFiles: () => shipsFiles,
    code: new DirectoryCode(directory),
    encode: {
      encodeSpecial(value) {
        if (value instanceof FakeRef) return { tag: "ref", data: value.id };
        if (typeof value !== "function") return undefined;
        if ("remotely" in value)
          return { tag: "remote", data: capture((value as unknown as { inner: Function }).inner, context).key };
        return { tag: "function", data: capture(value, context).key };
      },
      encodeClass: (Class) => capture(Class, context).key,
    },
    decode: {
      decodeSpecial: ({ tag, data }) => (tag === "ref" ? { ref: data } : { remoteKey: data }),
      decodeClass: (key) => {
        throw new Error(`${key} is not loaded`);
      },
    },
  };
  return context;
}

/** How a call in the other process ended. */
export type Outcome = { readonly value: unknown } | { readonly error: string; readonly stack: string };

/** Calls a function in a process of its own, by default as `await fn(...args)`. */
export class RoundTrip {
  readonly context: CaptureContext;
  private readonly directory = mkdtempSync(join(tmpdir(), "shoal-functions-"));
  private readonly child: ChildProcess;
  private readonly waiting: ((outcome: Outcome) => void)[] = [];

  /** `childPath` is the compiled round-trip-child; left out, it stands beside this file. */
  constructor(childPath = fileURLToPath(new URL("./round-trip-child.mjs", import.meta.url))) {
    this.context = contextIn(this.directory);
    this.child = fork(childPath, [this.directory], {
      serialization: "advanced",
      execArgv: [],
      cwd: "/",
      env: { ...process.env, NODE_OPTIONS: "" },
    });
    this.child.on("message", (outcome: Outcome) => this.waiting.shift()!(outcome));
    this.child.on("exit", () => {
      for (const settle of this.waiting.splice(0)) settle({ error: "the other process ended", stack: "" });
    });
  }

  capture(fn: Function): Captured {
    return capture(fn, this.context);
  }

  module(fn: Function): string {
    return readFileSync(join(this.directory, `${this.capture(fn).key}.mjs`), "utf8");
  }

  async call<A extends unknown[], R>(fn: (...args: A) => R, ...args: A): Promise<Awaited<R>> {
    const outcome = await this.outcome(fn, ...args);
    if ("error" in outcome) throw new Error(`${outcome.error}\n${outcome.stack}\n${this.module(fn)}`);
    return outcome.value as Awaited<R>;
  }

  outcome(fn: Function, ...args: unknown[]): Promise<Outcome> {
    return this.request({ key: this.capture(fn).key, args });
  }

  /** What a method of a new instance of the class returns there. */
  async method(Class: Function, name: string, ...args: unknown[]): Promise<unknown> {
    const outcome = await this.request({ key: this.capture(Class).key, method: name, args });
    if ("error" in outcome) throw new Error(`${outcome.error}\n${outcome.stack}\n${this.module(Class)}`);
    return outcome.value;
  }

  close(): void {
    this.child.removeAllListeners("exit");
    this.child.kill("SIGKILL");
    rmSync(this.directory, { recursive: true, force: true });
  }

  private request(message: { key: string; method?: string; args: unknown[] }): Promise<Outcome> {
    return new Promise((resolve) => {
      this.waiting.push(resolve);
      this.child.send(message);
    });
  }
}
export { capture };

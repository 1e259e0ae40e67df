/** Brings code that this node misses from the head into its `code/` directory: once, however many of its processes ask. */
import type { CodeFiles } from "../../functions/index.ts";
import { writeCode } from "../owner/code-store.ts";

export class NodeCode {
  private readonly directory: string;
  private readonly ask: (key: string) => CodeFiles | null | Promise<CodeFiles | null>;
  private readonly fetching = new Map<string, Promise<void>>();

  /** `ask` asks the head, which answers null when it does not know the key. */
  constructor(directory: string, ask: (key: string) => CodeFiles | null | Promise<CodeFiles | null>) {
    this.directory = directory;
    this.ask = ask;
  }

  /** Resolves when all files of the key are there. Rejects with an Error whose message is for the user. */
  fetch(key: string): Promise<void> {
    let fetching = this.fetching.get(key);
    if (fetching === undefined) {
      fetching = this.bring(key).finally(() => this.fetching.delete(key));
      this.fetching.set(key, fetching);
    }
    return fetching;
  }

  private async bring(key: string): Promise<void> {
    const files = await this.ask(key);
    if (files === null)
      throw new Error(
        `Cannot load function ${key} as the head of the cluster does not know it: the process that sent it has ended`,
      );
    writeCode(this.directory, key, files);
  }
}

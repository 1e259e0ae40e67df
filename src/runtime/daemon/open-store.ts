/** Loads and opens the object store; a module of its own so that its native parts load after the first workers were started. */
import { markInUse } from "../../objects/index.ts";
import { Kind } from "../../wire/index.ts";
import type { Daemon } from "./daemon.ts";
import { StoreKeeper } from "./store-keeper.ts";

export function openStore(daemon: Daemon): StoreKeeper {
  const { sessionDir, shmDir, objectStoreMemory } = daemon.config;
  markInUse(sessionDir); // daemon.pid, locked: whoever finds the directory later can tell whether it is left over
  return new StoreKeeper(shmDir, sessionDir, objectStoreMemory > 0 ? objectStoreMemory : undefined, {
    collect: () => daemon.broadcast([Kind.Collect]),
    failed: (text) => daemon.log.line(text),
  });
}

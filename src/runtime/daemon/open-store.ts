/** Loads and opens the object store; a module of its own so that its native parts load after the first workers were started. */
import { join } from "node:path";
import { markInUse } from "../../objects/index.ts";
import { Kind } from "../../wire/index.ts";
import type { Daemon } from "./daemon.ts";
import { StoreKeeper } from "./store-keeper.ts";
import { ObjectTransfer } from "./transfer/index.ts";

export function openStore(daemon: Daemon): StoreKeeper {
  const { sessionDir, shmDir, objectStoreMemory } = daemon.config;
  markInUse(sessionDir); // daemon.pid, locked: whoever finds the directory later can tell whether it is left over
  const keeper = new StoreKeeper(shmDir, sessionDir, objectStoreMemory > 0 ? objectStoreMemory : undefined, {
    collect: () => daemon.broadcast([Kind.Collect]),
    failed: (text) => daemon.log.line(text),
  });
  const { cluster } = daemon;
  if (cluster !== null)
    daemon.transfer = new ObjectTransfer({
      nodeId: daemon.nodeId,
      shmDir,
      spillDir: join(sessionDir, "spill"),
      manager: keeper.manager,
      links: {
        dialBulk: (to, first) => cluster.links.dialBulk(to, first),
        send: (to, message) => cluster.links.send(to, message),
        nodeOf: (key) => cluster.nodeOf(key) ?? undefined,
        connected: () => cluster.others(),
      },
      toProcess: (id, message) => daemon.send(id, message),
      report: (text) => daemon.log.line(text),
      onPressure: () => keeper.pressure(),
    });
  return keeper;
}

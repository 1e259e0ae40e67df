/**
 * Preloaded into workers by `--profile`: writes a CPU profile of the process on SIGUSR2. (A session ends its workers by force, and Node 20 refuses
 * `--cpu-prof` in NODE_OPTIONS.)
 */
import { renameSync, writeFileSync } from "node:fs";
import { Session } from "node:inspector";
import { join } from "node:path";

const file = join(process.env.SHOAL_BENCH_PROFILE as string, `worker-${process.pid}`);
const session = new Session();
session.connect();
session.post("Profiler.enable");
session.post("Profiler.start");
process.once("SIGUSR2", () => {
  session.post("Profiler.stop", (error, result) => {
    if (error !== null) throw error;
    writeFileSync(file, JSON.stringify(result.profile));
    renameSync(file, `${file}.cpuprofile`); // whole, once it has that name
  });
});

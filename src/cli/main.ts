#!/usr/bin/env node
/** The command `shoal`, also installed as `ray`. */
import { runCli } from "./program.ts";

// A batch system announces the end of a job with it, to every process; without a listener Node.js would open its inspector.
process.on("SIGUSR1", () => {});
// Whoever reads, `head` for one, may have seen enough.
for (const stream of [process.stdout, process.stderr])
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
process.exitCode = await runCli(process.argv.slice(2));

#!/usr/bin/env node
/** The command `shoal`, also installed as `ray`. */
import { runCli } from "./program.ts";

process.exitCode = await runCli(process.argv.slice(2));

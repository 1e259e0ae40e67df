/** What the command was called as: `ray` for those whose scripts say so. */
import { basename } from "node:path";

export const commandName = (): string => (/^ray\b/.test(basename(process.argv[1] ?? "")) ? "ray" : "shoal");

/** Commands that run a program under a terminal of its own: what is written to their standard input is typed there. */
import { spawnSync } from "node:child_process";

/** Runs its arguments in a new pseudo-terminal, copies between that and its own streams, and ends as the program does. */
const python = `
import os, pty, signal, sys
status = pty.spawn(sys.argv[1:])
sys.exit(os.waitstatus_to_exitcode(status) if status >= 0 and os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
`;

const works = (command: string, args: readonly string[]): boolean => spawnSync(command, args, { stdio: "ignore" }).status === 0;
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** Wraps a command line so that it runs under a terminal; null when this machine has neither `script` of util-linux nor Python. */
export const underTerminal: ((command: readonly string[]) => readonly [string, ...string[]]) | null = works("script", [
  "-qec",
  "true",
  "/dev/null",
])
  ? (command) => ["script", "-qec", `exec ${command.map(quoted).join(" ")}`, "/dev/null"]
  : works("python3", ["-c", "import os, pty; os.waitstatus_to_exitcode"])
    ? (command) => ["python3", "-c", python, ...command]
    : null;

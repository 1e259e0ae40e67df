import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { markInUse, sweepStaleSessions } from "./session-mark.ts";

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "shoal-test-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const makeSession = (name: string): string => {
  const dir = join(root, name);
  mkdirSync(join(dir, "spill"), { recursive: true });
  return dir;
};

describe("sweepStaleSessions", () => {
  it("removes a session whose daemon is gone and keeps the others", () => {
    const [gone, alive, young, old] = ["gone", "alive", "young", "old"].map(makeSession);
    markInUse(gone)();
    writeFileSync(join(gone, "daemon.pid"), `${process.pid} 1\n`); // as if the process id had been reused since
    const unmark = markInUse(alive);
    utimesSync(old, 1, 1);
    expect(sweepStaleSessions(root, join(root, "missing")).sort()).toEqual([gone, old].sort());
    expect([gone, alive, young, old].map((dir) => existsSync(dir))).toEqual([false, true, true, false]);
    unmark();
    unmark();
    expect(sweepStaleSessions(root)).toEqual([]); // its process is alive
    writeFileSync(join(alive, "daemon.pid"), "999999999 1\n");
    expect(sweepStaleSessions(root)).toEqual([alive]);
  });
});

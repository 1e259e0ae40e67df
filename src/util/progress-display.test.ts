import { describe, expect, test } from "vitest";
import { describe as lineOf, ProgressDisplay } from "./progress-display.ts";

function display(isTTY: boolean) {
  const clock = { now: 0 };
  const written: string[] = [];
  const target = { isTTY, columns: 80, write: (text: string) => written.push(text) };
  return { display: new ProgressDisplay(target, () => clock.now), clock, written };
}

describe("ProgressDisplay", () => {
  test("a line says label, share, count, rate and what is left, and fits the terminal", () => {
    const bar = { label: "files", total: 200, startMs: 0, done: 50, closed: false };
    expect(lineOf(bar, 10_000, 100)).toBe("files  [======                  ]   25 %  50/200  5.0/s  30.0 s left");
    expect(lineOf(bar, 10_000, 20)).toHaveLength(19);
  });

  test("without a total it says how many", () => {
    expect(lineOf({ label: "rows", total: undefined, startMs: 0, done: 7, closed: true }, 1000, 80)).toBe(
      "rows  7  7.0/s  in 1.0 s",
    );
  });

  test("off a terminal: a line only every few seconds, and the last state", () => {
    const { display: plain, clock, written } = display(false);
    const bar = plain.add("files", 100);
    for (clock.now = 0; clock.now < 12_000; clock.now += 10) {
      bar.done = Math.floor(clock.now / 120);
      plain.changed();
    }
    bar.done = 100;
    plain.close(bar);
    plain.close(bar);
    expect(written.length).toBeLessThanOrEqual(4);
    expect(written.at(-1)).toContain("100/100");
    expect(written.join("")).not.toContain("\x1b");
  });

  test("on a terminal: bars are redrawn in place, and a closed one stays above the others", () => {
    const { display: terminal, clock, written } = display(true);
    const first = terminal.add("first", 1);
    clock.now = 200;
    terminal.add("second", 2);
    expect(written.at(-1)).toMatch(/^\r.*first.*\n.*second/s);
    first.done = 1;
    terminal.close(first);
    const screen = written.join("").replaceAll("\x1b[", "<");
    expect(screen).toMatch(/<1A<Jfirst.*1\/1.*\n\r[^\n]*second[^\n]*$/s);
  });
});

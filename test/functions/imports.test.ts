import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as os from "node:os";
import path, { join as joinPaths } from "node:path";
import { parse } from "acorn";
import * as arrow from "apache-arrow";
import { pack, unpack } from "msgpackr";
import * as shoal from "shoal";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { useSession } from "../support/session.ts";
import { perimeter, Register, scaledArea, twice } from "./fixtures/remote-in-module.ts";
import * as shapes from "./fixtures/shapes.ts";
import area, { label, Rectangle, Shape } from "./fixtures/shapes.ts";

useSession();

describe("imports of a remote function", () => {
  test("of node: modules: named, renamed, default and whole", async () => {
    const use = shoal.remote((text: string) => {
      assert.equal(1, 1);
      return [
        createHash("sha256").update(text).digest("hex").length,
        joinPaths("a", "b"),
        path.extname("x.ts"),
        typeof os.cpus(),
      ];
    });
    expect(await shoal.get(use.remote("text"))).toEqual([64, "a/b", ".ts", "object"]);
  });

  test("of npm packages, ES modules and CommonJS", async () => {
    const esm = shoal.remote((code: string) => [parse(code, { ecmaVersion: 2022 }).type, unpack(pack({ a: 1 })).a]);
    expect(await shoal.get(esm.remote("1 + 1"))).toEqual(["Program", 1]);
    const cjs = shoal.remote(() => typeof ts.version);
    expect(await shoal.get(cjs.remote())).toBe("string");
    const rows = shoal.remote((n: number) => arrow.tableFromArrays({ n: Int32Array.from({ length: n }, (_, i) => i) }).numRows);
    expect(await shoal.get(rows.remote(7))).toBe(7);
  });

  test("of the user's own modules: functions, classes, constants, default and whole", async () => {
    const use = shoal.remote((name: string) => [
      area(2, 3),
      label(new Rectangle(4, 5), `/tmp/${name}`),
      shapes.unit,
      new shapes.Rectangle(1, 1) instanceof Shape,
      shapes.default(3, 3),
    ]);
    expect(await shoal.get(use.remote("x"))).toEqual([6, "x.txt: Rectangle of 20 cm", "cm", true, 9]);
  });

  test("of an imported function itself", async () => {
    expect(await shoal.get(shoal.remote(area).remote(6, 7))).toBe(42);
  });

  test("inside the function, by import()", async () => {
    const use = shoal.remote(async () => {
      const { basename } = await import("node:path");
      const { pack: packLater } = await import("msgpackr");
      return [basename("/a/b.c"), packLater(1).length];
    });
    expect(await shoal.get(use.remote())).toEqual(["b.c", 1]);
  });
});

describe("remote functions of another module", () => {
  test("work, with what they import and the constants beside them", async () => {
    expect(await shoal.get(scaledArea.remote(2, 3))).toBe(60);
    expect(await shoal.get(perimeter.remote(new Rectangle(2, 3)))).toBe(10);
    expect(await shoal.get(twice.remote(5))).toBe(100);
  });

  test("can be captured by the functions of this one", async () => {
    const use = shoal.remote(async (n: number) => shoal.get(Array.from({ length: n }, (_, i) => scaledArea.remote(i, 1))));
    expect(await shoal.get(use.remote(3))).toEqual([0, 10, 20]);
  });

  test("and classes of another module can be actors", async () => {
    const register = shoal.remote(Register).remote();
    await shoal.get(register.record.remote(1, 2));
    expect(await shoal.get(register.record.remote(3, 4))).toEqual([2, 12]);
  });

  test("instances of an imported class arrive as instances of it, there and back", async () => {
    const grow = shoal.remote((r: Rectangle) => (r instanceof Rectangle ? new Rectangle(r.width * 2, r.height) : null));
    const back = await shoal.get(grow.remote(new Rectangle(2, 3)));
    expect(back).toBeInstanceOf(Rectangle);
    expect(back!.describe()).toBe("Rectangle of 12 cm");
  });
});

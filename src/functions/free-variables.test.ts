import { describe, expect, test } from "vitest";
import { readFunction } from "./free-variables.ts";

const free = (text: string) => [...readFunction(text).free.keys()].sort();

describe("free variables", () => {
  // biome-ignore-start lint/suspicious/noTemplateCurlyInString: source text
  test.each<[string, string[]]>([
    ["(a, b = c, { d, e: f = g, ...h }, [i, , ...j]) => [a, b, d, e, f, h, i, j]", ["c", "e", "g"]],
    ["() => { var a; let b; const c = d; return [a, b, c]; }", ["d"]],
    ["() => { use(hoisted, variable); function hoisted() {} var variable; }", ["use"]],
    ["() => { { let inner; var outer; } return [inner, outer]; }", ["inner"]],
    [
      "() => { for (const a of b) c(a); for (let i = 0; i < n; i++); for (k in o); return [a, i]; }",
      ["a", "b", "c", "i", "k", "n", "o"],
    ],
    ["() => { try { a(); } catch ({ message, stack: s }) { return [message, s]; } finally { message; } }", ["a", "message"]],
    ["() => { label: for (;;) { break label; continue label; } }", []],
    ["() => { switch (a) { case b: let c; default: return c; } }", ["a", "b"]],
    ["() => ({ a, b: c, [d]: e, f() { return g; }, get h() { return i; } })", ["a", "c", "d", "e", "g", "i"]],
    ["() => a.b.c[d]?.e?.[f](g)", ["a", "d", "f", "g"]],
    ["function self() { return self(arguments, other); }", ["other"]],
    ["() => arguments", ["arguments"]],
    ["() => function () { return arguments; }", []],
    [
      "() => { class A extends B { [c] = d; static e = f; #p = g; static { h; var v; v; } m() { return A; } } return A; }",
      ["B", "c", "d", "f", "g", "h"],
    ],
    ["class A extends Base { m() { return [A, x]; } [computed]() {} field = y; }", ["x", "y"]],
    ["async function* f() { for await (const a of b) yield* a; await c; }", ["b", "c"]],
    ["() => tag`a${b}c`", ["b", "tag"]],
    ["() => { ({ a, b: c, ...d } = e); [f = g] = h; i++; j ??= k; }", ["a", "c", "d", "e", "f", "g", "h", "i", "j", "k"]],
    ["method(a) { return a + b; }", ["b"]],
    ["async *[Symbol.iterator]() { yield a; }", ["a"]],
    ["get value() { return this.a + b; }", ["b"]],
    ["#hidden() { return a; }", ["a"]],
    ["async (a) => { using b = c(a); await using d = b; return d; }", ["c"]],
    ["() => { const a = () => b; let b = 1; }", []],
  ])("%s", (text, names) => {
    expect(free(text)).toEqual(names);
  });
  // biome-ignore-end lint/suspicious/noTemplateCurlyInString: source text

  test("are marked as assigned, called, written short, or only asked for their type", () => {
    const { free } = readFunction("() => { a = 1; ({ b } = c); d(); e`x`; return { f, g: typeof h }; }");
    const of = (name: string) => free.get(name)!;
    expect(["a", "b", "c"].map((name) => of(name).assigned)).toEqual([true, true, false]);
    expect(["d", "e", "f"].map((name) => of(name).uses[0].callee)).toEqual([true, true, false]);
    expect(["b", "f", "c"].map((name) => of(name).uses[0].shorthand)).toEqual([true, true, false]);
    expect(["h", "d"].map((name) => of(name).onlyTypeof)).toEqual([true, false]);
  });

  test("know which properties of them are used, unless they are used as a whole", () => {
    const { free } = readFunction('() => [a.b, a["c"].d, e.f, e, g[h], (0, i.j)()]');
    const members = (name: string) => free.get(name)!.members && [...free.get(name)!.members!];
    expect(["a", "e", "g", "i"].map(members)).toEqual([["b", "c"], null, null, ["j"]]);
  });

  test("know what a class needs while it is defined", () => {
    const { free } = readFunction("class A { static a = b; c = d; static { e(() => f); } m() { g; } static [h] = 1; }");
    expect(
      [...free.values()]
        .filter(({ whileDefined }) => whileDefined)
        .map(({ name }) => name)
        .sort(),
    ).toEqual(["b", "e", "h"]);
    expect([...free.keys()].sort()).toEqual(["b", "d", "e", "f", "g", "h"]);
  });
});

describe("the surroundings a function uses", () => {
  const outer = (text: string) => {
    const { outerThis, outerSuper, outerPrivate, importMeta, importCalls } = readFunction(text);
    return {
      this: outerThis.length,
      super: outerSuper.length,
      private: outerPrivate,
      meta: importMeta.length,
      imports: importCalls.length,
    };
  };
  const none = { this: 0, super: 0, private: null, meta: 0, imports: 0 };

  test.each([
    ["() => this.a", { this: 1 }],
    ["() => function () { return this; }", {}],
    ["() => class { a = this; static { this; } [this.b]() {} }", { this: 1 }],
    ["() => super.a", { super: 1 }],
    ["a() { return super.a; }", { super: 1 }],
    ["() => ({ a() { return super.b; } })", {}],
    ["class A extends B { constructor() { super(); } a = super.b; }", {}],
    ["() => this.#a", { this: 1, private: "a" }],
    ["(x) => #b in x", { private: "b" }],
    ["class { #a; m() { return this.#a; } }", {}],
    ["() => import.meta.url + import('a')", { meta: 1, imports: 1 }],
  ])("%s", (text, expected) => {
    expect(outer(text)).toEqual({ ...none, ...expected });
  });

  test("text that is not legal in a module is a SyntaxError", () => {
    expect(() => readFunction("function (x) { with (x) {} }")).toThrow(SyntaxError);
    expect(() => readFunction("() => new.target")).toThrow("new.target");
  });
});

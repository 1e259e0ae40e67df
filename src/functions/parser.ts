/** The parser, loaded at its first use: most workers never capture a function, and start sooner without it. */
import { createRequire } from "node:module";

type Acorn = typeof import("acorn");

let acorn: Acorn | null = null;

export function parse(text: string, options: Parameters<Acorn["parse"]>[1]): ReturnType<Acorn["parse"]> {
  acorn ??= createRequire(import.meta.url)("acorn") as Acorn;
  return acorn.parse(text, options);
}

import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { findToken, makeToken, needToken, tokenPath } from "./token.ts";

let home = "";

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "shoal-home-"));
  vi.stubEnv("HOME", home);
  vi.stubEnv("SHOAL_AUTH_TOKEN", undefined);
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true });
});

test("a token is made once, for its user alone, and nothing else is left beside it", () => {
  expect(findToken()).toBeNull();
  expect(() => needToken()).toThrow(tokenPath());
  const token = makeToken();
  expect(makeToken()).toBe(token);
  expect(findToken()).toBe(token);
  expect(statSync(tokenPath()).mode & 0o777).toBe(0o600);
  expect(readdirSync(dirname(tokenPath()))).toEqual(["auth_token"]);
});

test("a file that is named comes first, then SHOAL_AUTH_TOKEN, then the home's", () => {
  const made = makeToken();
  vi.stubEnv("SHOAL_AUTH_TOKEN", "from the environment");
  const file = join(home, "named");
  writeFileSync(file, "from a file\n", { mode: 0o600 });
  expect([findToken(file), findToken()]).toEqual(["from a file", "from the environment"]);
  vi.stubEnv("SHOAL_AUTH_TOKEN", "");
  expect(findToken()).toBe(made);
});

test("a file that is missing, empty or open to others is refused", () => {
  const file = join(home, "named");
  expect(() => findToken(file)).toThrow(file);
  writeFileSync(file, "  \n", { mode: 0o600 });
  expect(() => findToken(file)).toThrow("empty");
  writeFileSync(file, "secret");
  chmodSync(file, 0o644);
  expect(() => findToken(file)).toThrow("chmod 600");
});

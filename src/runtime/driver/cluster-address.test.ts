import { expect, test } from "vitest";
import { firstAddress, formatAddress, isLoopback, parseAddress } from "./cluster-address.ts";

test.each([
  ["10.0.0.1:6380", { host: "10.0.0.1", port: 6380 }],
  ["node1:1", { host: "node1", port: 1 }],
  ["10.0.0.1", { host: "10.0.0.1", port: 6379 }],
  [" 10.0.0.1:7 ", { host: "10.0.0.1", port: 7 }],
  ["[::1]:7", { host: "::1", port: 7 }],
  ["fe80::1 10.0.0.1:7", { host: "10.0.0.1", port: 7 }],
  ["10.0.0.1 10.0.0.2:7", { host: "10.0.0.1", port: 7 }],
])("parseAddress reads %j", (text, address) => {
  expect(parseAddress(text)).toEqual(address);
});

test.each(["ray://a:1", "a:0", "a:70000", ":1", "a:b", ""])("parseAddress refuses %j, naming it", (text) => {
  expect(() => parseAddress(text)).toThrow(TypeError);
  expect(() => parseAddress(text)).toThrow(`'${text}'`);
});

test("an IPv6 address is written in brackets", () => {
  expect(formatAddress({ host: "::1", port: 2 })).toBe("[::1]:2");
  expect(parseAddress(formatAddress({ host: "fe80::1", port: 2 }))).toEqual({ host: "fe80::1", port: 2 });
});

test("firstAddress prefers IPv4; isLoopback knows Debian's 127.0.1.1", () => {
  expect(firstAddress("::1 10.0.0.1 10.0.0.2")).toBe("10.0.0.1");
  expect(firstAddress("node1")).toBe("node1");
  expect(["127.0.1.1", "localhost", "::1", "10.0.0.1"].map(isLoopback)).toEqual([true, true, true, false]);
});

/** Hooks for tests of the codec: classes and functions by name, refs as `{ id }`. Not part of the library. */
import type { DecodeHooks, EncodeHooks } from "../hooks.ts";
import { registeredFor, registeredNamed } from "../registry.ts";

export class FakeRef {
  readonly id: number;
  readonly owner: string;
  constructor(id: number, owner = "00112233aabbccdd") {
    this.id = id;
    this.owner = owner;
  }
}

/** Keeps whatever it names, as if sender and receiver had loaded the same code. */
export class FakeHooks implements EncodeHooks, DecodeHooks {
  readonly lenientErrors: boolean;
  readonly loaded = new Map<string, Function>();
  readonly refused = new Set<Function>();

  constructor(options: { lenientErrors?: boolean } = {}) {
    this.lenientErrors = options.lenientErrors ?? false;
  }

  encodeSpecial(value: object): ReturnType<EncodeHooks["encodeSpecial"]> {
    if (value instanceof FakeRef) return { tag: "ref", data: [value.owner, value.id] };
    if (typeof value === "function" && !this.refused.has(value)) return { tag: "function", data: this.keyOf(value) };
    const registered = registeredFor(value);
    if (registered) return { tag: "registered", data: [registered.name], payload: registered.serialize(value) };
    return undefined;
  }

  encodeClass(Class: Function): string {
    return this.keyOf(Class);
  }

  decodeSpecial({ tag, data }: { tag: string; data: unknown }, payload: unknown): unknown {
    const fields = data as [string, number];
    if (tag === "ref") return new FakeRef(fields[1], fields[0]);
    if (tag === "registered") return registeredNamed(fields[0])!.deserialize(payload);
    return this.loaded.get(data as string);
  }

  decodeClass(key: string): Function {
    const Class = this.loaded.get(key);
    if (!Class) throw new Error(`${key} is not loaded`);
    return Class;
  }

  private keyOf(value: Function): string {
    for (const [key, known] of this.loaded) {
      if (known === value) return key;
    }
    const key = `${value.name}:${this.loaded.size}`;
    this.loaded.set(key, value);
    return key;
  }
}

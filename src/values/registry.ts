/** Serializers that users gave for classes whose instances cannot travel by their fields. */

export interface Serializer<T extends object, S> {
  /**
   * Turns an instance into something that can travel. Called at every put, argument and result that holds the instance. Like
   * `deserialize` it travels itself, so it cannot use `this`.
   */
  serialize(value: T): S;
  /** Makes an instance from what `serialize` returned. Runs in the reading process, where only what it captured is there. */
  deserialize(data: S): T;
}

export interface RegisteredSerializer {
  /** Unique in the process that registered it. */
  readonly name: string;
  readonly Class: Function;
  readonly serialize: (value: any) => unknown;
  readonly deserialize: (data: any) => object;
}

/** By prototype, so that instances of subclasses are found too. */
const byPrototype = new Map<object, RegisteredSerializer>();
const byName = new Map<string, RegisteredSerializer>();
let registrations = 0;

/**
 * Says how instances of `Class`, subclasses included, travel. Registering a class again replaces its serializer.
 *
 * @example registerSerializer(Point, { serialize: (p) => [p.x, p.y], deserialize: ([x, y]) => new Point(x, y) });
 */
export function registerSerializer<T extends object, S>(
  Class: abstract new (...args: any[]) => T,
  serializer: Serializer<T, S>,
): void {
  if (typeof Class !== "function" || typeof Class.prototype !== "object" || Class.prototype === null) {
    throw new TypeError(`Cannot register a serializer for ${String(Class)} as a class: it is a ${typeof Class}`);
  }
  if (typeof serializer?.serialize !== "function" || typeof serializer.deserialize !== "function") {
    throw new TypeError(`Cannot register the serializer of ${Class.name} as a pair: serialize and deserialize must be functions`);
  }
  const previous = byPrototype.get(Class.prototype);
  if (previous) byName.delete(previous.name);
  const entry: RegisteredSerializer = {
    name: `${Class.name || "anonymous"}#${registrations++}`,
    Class,
    serialize: serializer.serialize,
    deserialize: serializer.deserialize,
  };
  byPrototype.set(Class.prototype, entry);
  byName.set(entry.name, entry);
}

/** The serializer for a value, its own class's before its ancestors'; `undefined` when there is none. */
export function registeredFor(value: object): RegisteredSerializer | undefined {
  if (byPrototype.size === 0) return undefined;
  for (let proto = Object.getPrototypeOf(value); proto !== null; proto = Object.getPrototypeOf(proto)) {
    const entry = byPrototype.get(proto);
    if (entry) return entry;
  }
  return undefined;
}

export function registeredNamed(name: string): RegisteredSerializer | undefined {
  return byName.get(name);
}

/**
 * Takes over an entry that came from another process with the class and functions it captured, so that instances made here can travel on.
 * An entry that this process already has for the class wins, and is returned.
 */
export function registerLoaded(entry: RegisteredSerializer): RegisteredSerializer {
  const known = byPrototype.get(entry.Class.prototype);
  if (known !== undefined) return known;
  byPrototype.set(entry.Class.prototype, entry);
  if (!byName.has(entry.name)) byName.set(entry.name, entry);
  return entry;
}

/** Forgets the serializer of a class. For tests, and for a session's end. */
export function unregisterSerializer(Class: Function): void {
  const entry = byPrototype.get(Class.prototype);
  if (!entry) return;
  byPrototype.delete(Class.prototype);
  byName.delete(entry.name);
}

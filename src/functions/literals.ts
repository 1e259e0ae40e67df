/** Values that are written into the generated module as they are. Longer strings are serialized. */

const literalLengthMax = 1024;

/** JavaScript for a primitive; undefined when it needs to be serialized. */
export function literalOf(value: unknown): string | undefined {
  switch (typeof value) {
    case "undefined":
      return "undefined";
    case "boolean":
      return String(value);
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "bigint":
      return `${value}n`;
    case "string":
      return value.length <= literalLengthMax ? JSON.stringify(value) : undefined;
    case "symbol":
      return symbolCode(value);
    default:
      return value === null ? "null" : undefined;
  }
}

const registry = Symbol.for("shoal.functions.symbols");
type Symbols = { readonly byName: Map<string, symbol>; readonly names: Map<symbol, string> };
const process_ = globalThis as unknown as Record<symbol, Symbols | undefined>;

function symbols(): Symbols {
  process_[registry] ??= { byName: new Map(), names: new Map() };
  return process_[registry];
}

/** A symbol that only the program knows gets a name, under which all processes find one and the same. */
function symbolCode(value: symbol): string {
  const shared = Symbol.keyFor(value);
  if (shared !== undefined) return `Symbol.for(${JSON.stringify(shared)})`;
  const { description = "" } = value;
  if (description.startsWith("Symbol.") && (Symbol as unknown as Record<string, unknown>)[description.slice(7)] === value)
    return description;
  const { names, byName } = symbols();
  let name = names.get(value);
  if (name === undefined) {
    name = `${process.pid.toString(36)}-${Date.now().toString(36)}-${names.size}`;
    names.set(value, name);
    byName.set(name, value);
  }
  return `$shoal.symbol(${JSON.stringify(name)}, ${JSON.stringify(description)})`;
}

/** The symbol of that name in this process. */
export function symbolNamed(name: string, description: string): symbol {
  const { names, byName } = symbols();
  let symbol = byName.get(name);
  if (symbol === undefined) {
    symbol = Symbol(description);
    byName.set(name, symbol);
    names.set(symbol, name);
  }
  return symbol;
}

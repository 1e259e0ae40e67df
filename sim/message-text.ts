/** Messages as the log shows them. */
import { Kind } from "../src/wire/index.ts";
import type { AnyMessage } from "../src/wire/messages.ts";

const names = new Map<number, string>(Object.entries(Kind).map(([name, kind]) => [kind as number, name]));

export function messageText(message: AnyMessage): string {
  return `${names.get(message[0]) ?? message[0]} ${message.slice(1).map(fieldText).join(" ")}`;
}

function fieldText(field: unknown): string {
  if (field instanceof Uint8Array) return `<${new TextDecoder().decode(field)}>`;
  if (typeof field !== "object" || field === null) return String(field);
  const text = JSON.stringify(field, (_key, value) => (value instanceof Uint8Array ? new TextDecoder().decode(value) : value));
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}

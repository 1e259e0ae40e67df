/** Messages as the log shows them. */
import { Kind } from "../src/wire/index.ts";
import { type ClusterNode, NodeKind } from "../src/wire/node-messages.ts";
import type { SimMessage } from "./network.ts";

const names = new Map<number, string>([...Object.entries(Kind), ...Object.entries(NodeKind)].map(([name, kind]) => [kind, name]));

export function messageText(message: SimMessage): string {
  if (message[0] === NodeKind.Nodes) return nodesText(message[1] as readonly ClusterNode[]);
  return `${names.get(message[0]) ?? message[0]} ${message.slice(1).map(fieldText).join(" ")}`;
}

/** Of many only the number: a thousand nodes are told of a thousand. */
function nodesText(nodes: readonly ClusterNode[]): string {
  if (nodes.length > 8) return `Nodes (${nodes.length})`;
  return `Nodes ${nodes.map((node) => `${node.nodeId}:${node.alive ? JSON.stringify(node.available) : "dead"}`).join(" ")}`;
}

function fieldText(field: unknown): string {
  if (field instanceof Uint8Array) return `<${new TextDecoder().decode(field)}>`;
  if (typeof field !== "object" || field === null) return String(field);
  const text = JSON.stringify(field, (_key, value) => (value instanceof Uint8Array ? new TextDecoder().decode(value) : value));
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}

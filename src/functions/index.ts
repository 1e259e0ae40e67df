/** Functions and classes by value: see docs/functions.md and docs/decisions/0004-functions-by-value.md. */
export { registerSelfExports } from "./by-reference.ts";
export { capture } from "./capture.ts";
export { assertNoPrivateInstanceMembers } from "./class-parts.ts";
export { keyOf } from "./identity.ts";
export { displayName } from "./inferred-name.ts";
export { preferPackagesIn } from "./resolve-specifier.ts";
export { revive } from "./revive.ts";
export { mapStack } from "./stack.ts";
export type { CaptureContext, Captured, CodeFiles, CodeStore, CodeSuffix } from "./types.ts";
export { warmUp } from "./warm-up.ts";

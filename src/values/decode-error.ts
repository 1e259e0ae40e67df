/** Bytes that are not a serialized value: truncated, altered, or of another version. Never caused by what a user wrote. */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
  readonly code = "DECODE_FAILED";
  readonly retryable = false;
}

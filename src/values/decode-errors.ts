/** Makes errors that are errors to the engine too (`util.types.isNativeError`), of the class they had. */
import { errorClassByName } from "../base/errors.ts";
import { type Decoder, define } from "./decoder.ts";
import { ERROR_CLASS, ERROR_SHOAL, errorConstructors, errorHiddenKeys } from "./format.ts";

export function readError(decoder: Decoder): Error {
  const kind = decoder.readByte();
  let Class: Function | undefined = errorConstructors[kind];
  if (kind === ERROR_SHOAL) {
    const name = decoder.readString();
    Class = errorClassByName(name) ?? decoder.fail(`there is no error class ${name}`);
  } else if (kind === ERROR_CLASS) {
    Class = decoder.readClass();
  }
  if (Class === undefined) decoder.fail(`there is no error of kind ${kind}`);
  const error = decoder.number(decoder.attempt("an error", () => makeBareError(Class)));
  readFieldsOfError(decoder, error);
  return error;
}

export function readDomException(decoder: Decoder): DOMException {
  const exception = decoder.number(withoutStack(() => new DOMException(decoder.readString(), decoder.readString())));
  readFieldsOfError(decoder, exception);
  return exception;
}

/** An error without own properties. The constructors of the class itself do not run: they may want other arguments, or act. */
function makeBareError(Class: Function): Error {
  const error = withoutStack(() => Reflect.construct(Error, [], Class) as Error);
  delete error.stack;
  return error;
}

/** Nobody will see the stack of the decoder, and to capture it costs more than the rest. */
function withoutStack<T>(make: () => T): T {
  const limit = Error.stackTraceLimit;
  try {
    Error.stackTraceLimit = 0;
  } catch {
    return make(); // Frozen intrinsics: only slower.
  }
  try {
    return make();
  } finally {
    Error.stackTraceLimit = limit;
  }
}

function readFieldsOfError(decoder: Decoder, error: Error): void {
  const mask = decoder.readByte();
  for (let i = 0; i < errorHiddenKeys.length; i++) {
    if (mask & (1 << i)) define(error, errorHiddenKeys[i], decoder.readValue(), false);
  }
  decoder.readNamedFields(error);
}

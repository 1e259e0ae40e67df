/** Names that exist in every Node process of the supported versions. Other properties of `globalThis` are the user's own. */
const language = `Object Function Array Number parseFloat parseInt Infinity NaN undefined Boolean String Symbol Date Promise RegExp Error
  AggregateError EvalError RangeError ReferenceError SyntaxError TypeError URIError globalThis JSON Math Intl ArrayBuffer Uint8Array
  Int8Array Uint16Array Int16Array Uint32Array Int32Array Float16Array Float32Array Float64Array Uint8ClampedArray BigUint64Array
  BigInt64Array DataView Map BigInt Set WeakMap WeakSet WeakRef Proxy Reflect FinalizationRegistry decodeURI decodeURIComponent encodeURI
  encodeURIComponent escape unescape eval isFinite isNaN SharedArrayBuffer Atomics WebAssembly Iterator DisposableStack
  AsyncDisposableStack SuppressedError`;

const node = `console process global Buffer clearImmediate setImmediate URL URLSearchParams URLPattern DOMException AbortController AbortSignal
  Event EventTarget EventSource TextEncoder TextDecoder TransformStream TransformStreamDefaultController WritableStream
  WritableStreamDefaultController WritableStreamDefaultWriter ReadableStream ReadableStreamDefaultReader ReadableStreamBYOBReader
  ReadableStreamBYOBRequest ReadableByteStreamController ReadableStreamDefaultController ByteLengthQueuingStrategy
  CountQueuingStrategy TextEncoderStream TextDecoderStream CompressionStream DecompressionStream clearInterval clearTimeout
  setInterval setTimeout queueMicrotask structuredClone atob btoa BroadcastChannel MessageChannel MessagePort MessageEvent Blob
  File Performance PerformanceEntry PerformanceMark PerformanceMeasure PerformanceObserver PerformanceObserverEntryList
  PerformanceResourceTiming performance fetch FormData Headers Request Response WebSocket CloseEvent ErrorEvent CustomEvent crypto Crypto CryptoKey
  SubtleCrypto navigator Navigator Storage localStorage sessionStorage`;

/** Those of the language itself, which are native. */
export const languageGlobals: ReadonlySet<string> = new Set(language.split(/\s+/));

export const nodeGlobals: ReadonlySet<string> = new Set(node.split(/\s+/));

export const standardGlobals: ReadonlySet<string> = new Set([...languageGlobals, ...nodeGlobals]);

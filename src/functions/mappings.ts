/** The `mappings` of a source map: https://tc39.es/ecma426/. Names are not kept. */

export interface Segment {
  readonly column: number;
  readonly source: number;
  readonly sourceLine: number;
  readonly sourceColumn: number;
}

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const digitValues = new Uint8Array(128);
for (let i = 0; i < digits.length; i++) digitValues[digits.charCodeAt(i)] = i;

/** `lines` may have holes; segments of a line are in order of `column`. */
export function encodeMappings(lines: readonly (readonly Segment[] | undefined)[]): string {
  let source = 0;
  let sourceLine = 0;
  let sourceColumn = 0;
  const rows: string[] = [];
  for (const segments of Array.from(lines)) {
    let column = 0;
    const cells: string[] = [];
    for (const segment of segments ?? []) {
      cells.push(
        encode(segment.column - column) +
          encode(segment.source - source) +
          encode(segment.sourceLine - sourceLine) +
          encode(segment.sourceColumn - sourceColumn),
      );
      ({ column, source, sourceLine, sourceColumn } = segment);
    }
    rows.push(cells.join(","));
  }
  return rows.join(";");
}

export function decodeMappings(mappings: string): Segment[][] {
  const lines: Segment[][] = [[]];
  const fields = [0, 0, 0, 0, 0];
  let field = 0;
  let value = 0;
  let shift = 0;
  const close = (): void => {
    if (field >= 4)
      lines[lines.length - 1].push({ column: fields[0], source: fields[1], sourceLine: fields[2], sourceColumn: fields[3] });
    field = 0;
  };
  for (let at = 0; at < mappings.length; at++) {
    const code = mappings.charCodeAt(at);
    if (code === 44 /* , */) close();
    else if (code === 59 /* ; */) {
      close();
      lines.push([]);
      fields[0] = 0;
    } else {
      const digit = digitValues[code];
      value |= (digit & 31) << shift;
      shift += 5;
      if (digit & 32) continue;
      fields[field++] += value & 1 ? -(value >>> 1) : value >>> 1;
      value = 0;
      shift = 0;
    }
  }
  close();
  return lines;
}

function encode(value: number): string {
  let rest = value < 0 ? (-value << 1) | 1 : value << 1;
  let text = "";
  do {
    const digit = rest & 31;
    rest >>>= 5;
    text += digits[rest > 0 ? digit | 32 : digit];
  } while (rest > 0);
  return text;
}

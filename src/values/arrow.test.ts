import * as arrow from "apache-arrow";
import { describe, expect, it } from "vitest";
import { deserialize, flatten, serialize } from "./index.ts";
import { FakeHooks } from "./testing/fake-hooks.ts";

const hooks = new FakeHooks();

function roundTrip<T>(value: T, mode: "copy" | "alias" = "copy"): T {
  return deserialize(flatten(serialize(value, hooks, "value")), hooks, mode) as T;
}

const rows = (table: { toArray(): unknown[] }) =>
  JSON.stringify(table.toArray(), (_, value) => (typeof value === "bigint" ? `${value}n` : value));

function sampleTable(): arrow.Table {
  const field = (name: string, type: arrow.DataType) => new arrow.Field(name, type, true);
  const place = new arrow.Struct([field("city", new arrow.Utf8()), field("zip", new arrow.Int32())]);
  const label = new arrow.Dictionary(new arrow.Utf8(), new arrow.Int32());
  return new arrow.Table({
    name: arrow.vectorFromArray(["Ada", null, "Ada"], label),
    age: arrow.vectorFromArray([36, 41.5, null], new arrow.Float64()),
    tags: arrow.vectorFromArray([["x", "y"], [], null], new arrow.List(field("item", new arrow.Utf8()))),
    place: arrow.vectorFromArray([{ city: "London", zip: null }, { city: null, zip: 7 }, null] as any[], place),
    id: arrow.makeVector(Int32Array.of(1, 2, 3)),
    big: arrow.makeVector(BigInt64Array.of(1n, 2n, 3n)),
    seen: arrow.vectorFromArray([new Date(0), null, new Date(1e12)], new arrow.TimestampMillisecond()),
    ok: arrow.vectorFromArray([true, null, false], new arrow.Bool()),
  });
}

describe("Apache Arrow", () => {
  it("a table with dictionary, nested, nullable and date columns arrives whole", () => {
    const table = sampleTable();
    const read = roundTrip(table);
    expect(read).toBeInstanceOf(arrow.Table);
    expect(rows(read)).toBe(rows(table));
    expect(read.schema.toString()).toBe(table.schema.toString());
    expect(read.getChild("name")!.get(0)).toBe("Ada");
    expect(arrow.tableToIPC(read)).toEqual(arrow.tableToIPC(table));
  });

  it("a table read from IPC, with several chunks, arrives whole", () => {
    const table = sampleTable();
    const chunked = arrow.tableFromIPC(arrow.tableToIPC(table.concat(table, table.slice(1))));
    expect(chunked.batches.length).toBeGreaterThan(1);
    const read = roundTrip(chunked, "alias");
    expect(rows(read)).toBe(rows(chunked));
    expect(read.slice(2, 5).numRows).toBe(3);
    expect(read.getChild("age")!.toArray()).toEqual(chunked.getChild("age")!.toArray());
  });

  it("columns are not copied in alias mode", () => {
    const values = Float64Array.from({ length: 100_000 }, (_, i) => i / 3);
    const flat = flatten(serialize({ table: arrow.tableFromArrays({ values }) }, hooks, "value"));
    const { table } = deserialize(flat, hooks, "alias") as { table: arrow.Table };
    const column = table.getChild("values")!.data[0].values as Float64Array;
    expect(column.buffer).toBe(flat.buffer);
    expect(table.getChild("values")!.toArray()).toEqual(values);
  });

  it("vectors, schemas, types, batches and chunks travel by themselves", () => {
    const numbers = arrow.vectorFromArray([1, null, 3], new arrow.Int32());
    expect(roundTrip(numbers).toArray()).toEqual(numbers.toArray());
    expect([...roundTrip(numbers)]).toEqual([1, null, 3]);
    expect(roundTrip(numbers.concat(numbers)).get(5)).toBe(3);
    expect([...roundTrip(numbers.memoize())]).toEqual([1, null, 3]);
    const table = sampleTable();
    expect(roundTrip(table.schema).toString()).toBe(table.schema.toString());
    expect(roundTrip(table.batches[0]).numRows).toBe(3);
    expect(roundTrip(table.batches[0].data).length).toBe(3);
    expect(roundTrip(new arrow.Timestamp(arrow.TimeUnit.MICROSECOND, "UTC")).toString()).toBe("Timestamp<MICROSECOND, UTC>");
  });

  it("the classes of the package are named for loading", () => {
    const { functions } = serialize(arrow.tableFromArrays({ a: Int8Array.of(1) }), hooks, "value");
    expect(functions.map((key) => key.split(":")[0])).toEqual(
      expect.arrayContaining(["Table", "Schema", "Field", "RecordBatch", "Data"]),
    );
  });
});

/**
 * `MLOperandDataType`, `MLOperandDescriptor`, and bytes of tensors.
 */

const BYTES = { float32: 4, float16: 2, int32: 4, uint32: 4, int64: 8, uint64: 8, int8: 1, uint8: 1 } as const;

/** `MLOperandDataType`. */
export type DataType = keyof typeof BYTES;

/** All of them. */
export const DATA_TYPES = Object.keys(BYTES) as readonly DataType[];

/** The engine's names of them. */
const ENGINE: Readonly<Record<DataType, string>> = {
  float32: "f32",
  float16: "f16",
  int32: "i32",
  uint32: "u32",
  int64: "i64",
  uint64: "u64",
  int8: "i8",
  uint8: "u8",
};

/** `MLOperandDescriptor`, converted. */
export interface Descriptor {
  readonly dataType: DataType;
  readonly shape: readonly number[];
}

/** More dimensions than an operand has here. */
export const MOST_RANK = 8;

/** Bytes that a tensor may have at most. */
export const MOST_BYTES = 2 ** 31 - 1;

/** Web IDL's conversion of a descriptor, and the specification's check of its dimensions. */
export function descriptorOf(value: unknown, what: string): Descriptor {
  if (typeof value !== "object" || value === null) throw new TypeError(`${what}: the descriptor is no dictionary`);
  const { dataType, shape } = value as { dataType?: unknown; shape?: unknown };
  const descriptor = { dataType: dataTypeOf(dataType, what), shape: sizesOf(shape, `${what}: shape`) };
  if (descriptor.shape.length > MOST_RANK) throw new TypeError(`${what}: rank ${descriptor.shape.length} is over ${MOST_RANK}`);
  if (descriptor.shape.includes(0)) throw new TypeError(`${what}: shape [${descriptor.shape.join(", ")}] has a dimension of 0`);
  if (byteLength(descriptor) > MOST_BYTES) throw new TypeError(`${what}: more than ${MOST_BYTES} bytes`);
  return descriptor;
}

/** Web IDL's conversion to the enumeration. */
export function dataTypeOf(value: unknown, what: string): DataType {
  const name = String(value);
  if (!Object.hasOwn(BYTES, name)) throw new TypeError(`${what}: ${name} is no MLOperandDataType`);
  return name as DataType;
}

/** Web IDL's `sequence<[EnforceRange] unsigned long>`. */
function sizesOf(value: unknown, what: string): number[] {
  if (typeof value !== "object" || value === null || !(Symbol.iterator in value)) throw new TypeError(`${what} is no sequence`);
  return Array.from(value as Iterable<unknown>, (size) => {
    const whole = Math.trunc(Number(size));
    if (!(whole >= 0 && whole <= 0xffffffff)) throw new TypeError(`${what}: ${String(size)} is no unsigned long`);
    return whole;
  });
}

/** Bytes of a tensor. */
export function byteLength({ dataType, shape }: Descriptor): number {
  return shape.reduce((count, size) => count * size, BYTES[dataType]);
}

/** Whether two tensors have one type and shape. */
export function alike(a: Descriptor, b: Descriptor): boolean {
  return a.dataType === b.dataType && a.shape.length === b.shape.length && a.shape.every((size, at) => size === b.shape[at]);
}

/** The type in the engine's words; in pairs, 64-bit integers are two `u32`. */
export function engineTensor({ dataType, shape }: Descriptor, data: Uint8Array, pairs: boolean): EngineTensor {
  if (pairs && BYTES[dataType] === 8) return { type: "u32", shape: [...shape, 2], data };
  return { type: ENGINE[dataType], shape, data };
}

interface EngineTensor {
  readonly type: string;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** The bytes of an `AllowSharedBufferSource`, where they are. */
export function bytesOf(source: unknown, what: string): Uint8Array {
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  const shared = typeof SharedArrayBuffer !== "undefined" && source instanceof SharedArrayBuffer;
  if (source instanceof ArrayBuffer || shared) return new Uint8Array(source as ArrayBuffer);
  throw new TypeError(`${what}: no buffer and no view of one`);
}

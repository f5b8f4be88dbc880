/**
 * `opSupportLimits()`: the data types and ranks that the specification has for each operand of each operator, all of which are
 * computed.
 */
import { DATA_TYPES, type DataType, MOST_BYTES, MOST_RANK } from "./data.js";

/** `MLTensorLimits` */
interface TensorLimits {
  readonly dataTypes: readonly DataType[];
  readonly rankRange: { readonly min: number; readonly max: number };
}

const TYPES = {
  all: DATA_TYPES,
  floats: ["float32", "float16"],
  signed: ["float32", "float16", "int32", "int64", "int8"],
  sums: ["float32", "float16", "int32", "uint32", "int64", "uint64"],
  index: ["int32", "uint32", "int64"],
  place: ["int32", "int64"],
  truth: ["uint8"],
  quantized: ["int8", "uint8", "int32"],
} as const satisfies Record<string, readonly DataType[]>;

type Types = keyof typeof TYPES;

/** Of each operand: its types, its rank if that is one, or its least rank. */
type Operands = Readonly<Record<string, Types | readonly [types: Types, rank: number] | readonly [types: Types, least: number, most: number]>>;

const unary = (types: Types): Operands => ({ input: types, output: types });
const binary = (types: Types, output: Types = types): Operands => ({ a: types, b: types, output });
const convolution: Operands = { input: ["floats", 4], filter: ["floats", 4], bias: ["floats", 1], output: ["floats", 4] };
const gathering = (least: number): Operands => ({
  input: ["all", 1, MOST_RANK],
  indices: ["index", least, MOST_RANK],
  output: "all",
});
const scattering: Operands = {
  input: ["all", 1, MOST_RANK],
  indices: ["index", 1, MOST_RANK],
  updates: "all",
  output: ["all", 1, MOST_RANK],
};
const recurrent = (rank: number): Operands => ({
  input: ["floats", rank],
  weight: ["floats", rank],
  recurrentWeight: ["floats", rank],
  bias: ["floats", rank - 1],
  recurrentBias: ["floats", rank - 1],
});

const OPERATORS = {
  abs: unary("signed"),
  add: binary("all"),
  argMax: { input: "all", output: "place" },
  argMin: { input: "all", output: "place" },
  averagePool2d: { input: ["floats", 4], output: ["floats", 4] },
  batchNormalization: {
    input: ["floats", 1, MOST_RANK],
    mean: ["floats", 1],
    variance: ["floats", 1],
    scale: ["floats", 1],
    bias: ["floats", 1],
    output: ["floats", 1, MOST_RANK],
  },
  cast: unary("all"),
  ceil: unary("floats"),
  clamp: unary("all"),
  concat: { inputs: ["all", 1, MOST_RANK], output: ["all", 1, MOST_RANK] },
  conv2d: convolution,
  convTranspose2d: convolution,
  cos: unary("floats"),
  cumulativeSum: { input: ["sums", 1, MOST_RANK], output: ["sums", 1, MOST_RANK] },
  dequantizeLinear: { input: "quantized", scale: "floats", zeroPoint: "quantized", output: "floats" },
  div: binary("all"),
  elu: unary("floats"),
  equal: binary("all", "truth"),
  erf: unary("floats"),
  exp: unary("floats"),
  expand: unary("all"),
  floor: unary("floats"),
  gather: gathering(0),
  gatherElements: gathering(1),
  gatherND: gathering(1),
  gelu: unary("floats"),
  gemm: { a: ["floats", 2], b: ["floats", 2], c: ["floats", 0, 2], output: ["floats", 2] },
  greater: binary("all", "truth"),
  greaterOrEqual: binary("all", "truth"),
  gru: { ...recurrent(3), initialHiddenState: ["floats", 3], outputs: ["floats", 3, 4] },
  gruCell: { ...recurrent(2), hiddenState: ["floats", 2], output: ["floats", 2] },
  hardSigmoid: unary("floats"),
  hardSwish: unary("floats"),
  identity: unary("all"),
  instanceNormalization: { input: ["floats", 4], scale: ["floats", 1], bias: ["floats", 1], output: ["floats", 4] },
  isInfinite: { a: "floats", output: "truth" },
  isNaN: { a: "floats", output: "truth" },
  l2Pool2d: { input: ["floats", 4], output: ["floats", 4] },
  layerNormalization: { input: "floats", scale: "floats", bias: "floats", output: "floats" },
  leakyRelu: unary("floats"),
  lesser: binary("all", "truth"),
  lesserOrEqual: binary("all", "truth"),
  linear: unary("floats"),
  log: unary("floats"),
  logicalAnd: binary("truth"),
  logicalNot: { a: "truth", output: "truth" },
  logicalOr: binary("truth"),
  logicalXor: binary("truth"),
  lstm: {
    ...recurrent(3),
    peepholeWeight: ["floats", 2],
    initialHiddenState: ["floats", 3],
    initialCellState: ["floats", 3],
    outputs: ["floats", 3, 4],
  },
  lstmCell: {
    ...recurrent(2),
    hiddenState: ["floats", 2],
    cellState: ["floats", 2],
    peepholeWeight: ["floats", 1],
    outputs: ["floats", 2],
  },
  matmul: { a: ["floats", 2, MOST_RANK], b: ["floats", 2, MOST_RANK], output: ["floats", 2, MOST_RANK] },
  max: binary("all"),
  maxPool2d: { input: ["all", 4], output: ["all", 4] },
  min: binary("all"),
  mul: binary("all"),
  neg: unary("signed"),
  notEqual: binary("all", "truth"),
  pad: { input: ["all", 1, MOST_RANK], output: ["all", 1, MOST_RANK] },
  pow: binary("all"),
  prelu: { input: "signed", slope: "signed", output: "signed" },
  quantizeLinear: { input: "floats", scale: "floats", zeroPoint: "quantized", output: "quantized" },
  reciprocal: unary("floats"),
  reduceL1: unary("sums"),
  reduceL2: unary("floats"),
  reduceLogSum: unary("floats"),
  reduceLogSumExp: unary("floats"),
  reduceMax: unary("all"),
  reduceMean: unary("floats"),
  reduceMin: unary("all"),
  reduceProduct: unary("sums"),
  reduceSum: unary("sums"),
  reduceSumSquare: unary("sums"),
  relu: unary("signed"),
  resample2d: { input: ["floats", 4], output: ["floats", 4] },
  reshape: unary("all"),
  reverse: unary("all"),
  roundEven: unary("floats"),
  scatterElements: scattering,
  scatterND: scattering,
  sigmoid: unary("floats"),
  sign: unary("signed"),
  sin: unary("floats"),
  slice: unary("all"),
  softmax: { input: ["floats", 1, MOST_RANK], output: ["floats", 1, MOST_RANK] },
  softplus: unary("floats"),
  softsign: unary("floats"),
  split: { input: ["all", 1, MOST_RANK], outputs: ["all", 1, MOST_RANK] },
  sqrt: unary("floats"),
  sub: binary("all"),
  tan: unary("floats"),
  tanh: unary("floats"),
  tile: unary("all"),
  transpose: unary("all"),
  triangular: { input: ["all", 2, MOST_RANK], output: ["all", 2, MOST_RANK] },
  where: { condition: "truth", trueValue: "all", falseValue: "all", output: "all" },
} as const satisfies Record<string, Operands>;

/** The names of all operators. */
export const OPERATOR_NAMES = Object.keys(OPERATORS);

function limits(types: Types, min: number, max: number): TensorLimits {
  return { dataTypes: [...TYPES[types]], rankRange: { min, max } };
}

/** A fresh `MLOpSupportLimits`. */
export function opSupportLimits(): Record<string, unknown> {
  const any = (): TensorLimits => limits("all", 0, MOST_RANK);
  const all: Record<string, unknown> = {
    preferredInputLayout: "nchw",
    maxTensorByteLength: MOST_BYTES,
    input: any(),
    constant: any(),
    output: any(),
  };
  for (const [name, operands] of Object.entries<Operands>(OPERATORS)) {
    const entries = Object.entries(operands).map(([operand, told]): [string, TensorLimits] => {
      if (typeof told === "string") return [operand, limits(told, 0, MOST_RANK)];
      const [types, least, most = least] = told;
      return [operand, limits(types, least, most)];
    });
    all[name] = Object.fromEntries(entries);
  }
  return all;
}

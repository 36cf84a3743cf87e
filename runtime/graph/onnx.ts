// ONNX graphs: nodes and initializers as a builder collects them, and the ModelProto that they become. Only what our graphs use.
import protobuf from 'protobufjs/light.js';

const ELEMENT = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  bfloat16: 16,
} as const;

export type Element = keyof typeof ELEMENT;

export type AttributeValue =
  | { readonly int: number }
  | { readonly float: number }
  | { readonly string: string }
  | { readonly ints: readonly number[] }
  | { readonly tensor: OnnxTensor }
  | { readonly graph: OnnxSubgraph };

/** A branch, or what is repeated: its nodes may use every value of the graph around it. */
export interface OnnxSubgraph {
  readonly inputs: readonly OnnxValue[];
  readonly nodes: readonly OnnxNode[];
  readonly outputs: readonly string[];
}

export interface OnnxTensor {
  readonly name: string;
  readonly element: Element;
  readonly dims: readonly number[];
  readonly data: Uint8Array | { readonly location: string; readonly offset: number; readonly length: number };
}

export interface OnnxNode {
  readonly op: string;
  /** Empty for the standard operators. */
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, AttributeValue>>;
}

export interface OnnxValue {
  readonly name: string;
  readonly element: Element;
  /** A string is a symbolic dimension. */
  readonly dims: readonly (number | string)[];
}

export interface OnnxModel {
  readonly name: string;
  readonly opsets: Readonly<Record<string, number>>;
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly OnnxTensor[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

// Collecting.

/** A value of the graph, by name. Values are distinct types of string only in prose: ONNX names them so. */
export type Value = string;

export interface NodeExtras {
  readonly domain?: string;
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  /** Outputs to name; the first is returned by `node`, all of them by `nodes`. Default 1. */
  readonly outputs?: number;
}

export interface GraphBuilder {
  /** Adds a node with one result. An empty input name is an omitted optional input. */
  node(op: string, inputs: readonly Value[], extras?: NodeExtras): Value;
  /** Adds a node with several results. */
  nodes(op: string, inputs: readonly Value[], extras: NodeExtras & { outputs: number }): readonly Value[];
  cast(value: Value, to: Element): Value;
  /** Computes one branch or the other, neither of which is constant. Values made inside of a branch must not be used outside of it. */
  branch(condition: Value, whenTrue: () => Value, whenFalse: () => Value): Value;
  /**
   * Computes something `count` times and puts the results behind each other, along a new first dimension.
   * @param count int64 scalar, at least 1
   * @param make is given which time it is, an int64 scalar from 0; values made inside must not be used outside
   */
  repeat(count: Value, make: (index: Value) => Value): Value;
  initializer(tensor: OnnxTensor): Value;
  int64(values: readonly number[], dims?: readonly number[]): Value;
  int32(values: readonly number[], dims?: readonly number[]): Value;
  float32(values: readonly number[], dims?: readonly number[]): Value;
  collected(): { readonly nodes: readonly OnnxNode[]; readonly initializers: readonly OnnxTensor[] };
}

/** Domain of ONNX Runtime's own operators. */
export const MICROSOFT = 'com.microsoft';

/** The versions that our graphs are written for. */
export const OPSETS = { '': 18, [MICROSOFT]: 1 } as const;

const bytesOf = (array: Int32Array | BigInt64Array | Float32Array) =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

export function createGraphBuilder(): GraphBuilder {
  const nodes: OnnxNode[] = [];
  let scope = nodes;
  const initializers = new Map<string, OnnxTensor>();
  let values = 0;
  const constants = new Set<Value>();

  const initializer = (tensor: OnnxTensor): Value => {
    initializers.set(tensor.name, tensor);
    constants.add(tensor.name);
    return tensor.name;
  };
  // Equal constants share one initializer: the name says the value.
  const constant = (element: Element, key: string, data: Uint8Array, dims: readonly number[]): Value =>
    initializer({ name: `${element}[${dims.join(',')}]=${key}`, element, dims, data });
  const addNodes = (op: string, inputs: readonly Value[], extras: NodeExtras = {}): [Value, ...Value[]] => {
    const name = (): Value => `${op}:${values++}`;
    const outputs: [Value, ...Value[]] = [name()];
    for (let index = 1; index < (extras.outputs ?? 1); index++) outputs.push(name());
    // ONNX Runtime computes what is constant at load. Of a branch it would write that out twice, and not read the file again.
    const isConstant = inputs.length > 0 && inputs.every((input) => input === '' || constants.has(input));
    if (isConstant) for (const output of outputs) constants.add(output);
    const place = isConstant ? nodes : scope;
    place.push({ op, domain: extras.domain ?? '', inputs, outputs, attributes: extras.attributes ?? {} });
    return outputs;
  };

  const subgraph = (make: () => readonly Value[], inputs: readonly OnnxValue[] = []): AttributeValue => {
    const outer = scope;
    const inner: OnnxNode[] = [];
    scope = inner;
    const outputs = make();
    scope = outer;
    return { graph: { inputs, nodes: inner, outputs } };
  };

  const repeat: GraphBuilder['repeat'] = (count, make) => {
    const [index, goOn] = [`Loop:${values++}`, `Loop:${values++}`];
    const body = subgraph(() => {
      // An output that is an input as it is would be one value under two names.
      const still = addNodes('Identity', [goOn])[0];
      return [still, make(index)];
    }, [
      { name: index, element: 'int64', dims: [] },
      { name: goOn, element: 'bool', dims: [] },
    ]);
    return addNodes('Loop', [count, ''], { attributes: { body } })[0];
  };

  return {
    branch: (condition, whenTrue, whenFalse) =>
      addNodes('If', [condition], {
        attributes: { then_branch: subgraph(() => [whenTrue()]), else_branch: subgraph(() => [whenFalse()]) },
      })[0],
    repeat,
    node: (op, inputs, extras) => addNodes(op, inputs, extras)[0],
    nodes: addNodes,
    cast: (value, to) => addNodes('Cast', [value], { attributes: { to: { int: ELEMENT[to] } } })[0],
    initializer,
    int64: (list, dims = [list.length]) =>
      constant('int64', list.join(), bytesOf(BigInt64Array.from(list, (value) => BigInt(value))), dims),
    int32: (list, dims = [list.length]) => constant('int32', list.join(), bytesOf(Int32Array.from(list)), dims),
    float32: (list, dims = [list.length]) => constant('float32', list.join(), bytesOf(Float32Array.from(list)), dims),
    collected: () => ({ nodes, initializers: [...initializers.values()] }),
  };
}

// Encoding, with protobufjs.

const IR_VERSION = 9;
const ATTRIBUTE_TYPE = { float: 1, int: 2, string: 3, tensor: 4, graph: 5, ints: 7 } as const;
const EXTERNAL = 1;

const one = (type: string, id: number) => ({ type, id });
const many = (type: string, id: number) => ({ rule: 'repeated', type, id });

// Field numbers of onnx.proto3.
const schema = protobuf.Root.fromJSON({
  nested: {
    StringStringEntryProto: { fields: { key: one('string', 1), value: one('string', 2) } },
    TensorProto: {
      fields: {
        dims: many('int64', 1),
        dataType: one('int32', 2),
        name: one('string', 8),
        rawData: one('bytes', 9),
        externalData: many('StringStringEntryProto', 13),
        dataLocation: one('int32', 14),
      },
    },
    AttributeProto: {
      fields: {
        name: one('string', 1),
        f: one('float', 2),
        i: one('int64', 3),
        s: one('bytes', 4),
        t: one('TensorProto', 5),
        g: one('GraphProto', 6),
        ints: many('int64', 8),
        type: one('int32', 20),
      },
    },
    NodeProto: {
      fields: {
        input: many('string', 1),
        output: many('string', 2),
        name: one('string', 3),
        opType: one('string', 4),
        attribute: many('AttributeProto', 5),
        domain: one('string', 7),
      },
    },
    Dimension: { fields: { dimValue: one('int64', 1), dimParam: one('string', 2) } },
    TensorShapeProto: { fields: { dim: many('Dimension', 1) } },
    TensorTypeProto: { fields: { elemType: one('int32', 1), shape: one('TensorShapeProto', 2) } },
    TypeProto: { fields: { tensorType: one('TensorTypeProto', 1) } },
    ValueInfoProto: { fields: { name: one('string', 1), type: one('TypeProto', 2) } },
    GraphProto: {
      fields: {
        node: many('NodeProto', 1),
        name: one('string', 2),
        initializer: many('TensorProto', 5),
        input: many('ValueInfoProto', 11),
        output: many('ValueInfoProto', 12),
      },
    },
    OperatorSetIdProto: { fields: { domain: one('string', 1), version: one('int64', 2) } },
    ModelProto: {
      fields: {
        irVersion: one('int64', 1),
        producerName: one('string', 2),
        graph: one('GraphProto', 7),
        opsetImport: many('OperatorSetIdProto', 8),
      },
    },
  },
});

const modelProto = schema.lookupType('ModelProto');

const tensorMessage = (tensor: OnnxTensor) => ({
  name: tensor.name,
  dims: tensor.dims,
  dataType: ELEMENT[tensor.element],
  ...(tensor.data instanceof Uint8Array
    ? { rawData: tensor.data }
    : {
        dataLocation: EXTERNAL,
        externalData: Object.entries(tensor.data).map(([key, value]) => ({ key, value: String(value) })),
      }),
});

const subgraphMessage = (name: string, { inputs, nodes, outputs }: OnnxSubgraph): object => ({
  name,
  node: nodes.map(nodeMessage),
  input: inputs.map(valueMessage),
  output: outputs.map((output) => ({ name: output })),
});

function attributeMessage(name: string, value: AttributeValue): object {
  if ('int' in value) return { name, type: ATTRIBUTE_TYPE.int, i: value.int };
  if ('float' in value) return { name, type: ATTRIBUTE_TYPE.float, f: value.float };
  if ('string' in value) return { name, type: ATTRIBUTE_TYPE.string, s: new TextEncoder().encode(value.string) };
  if ('ints' in value) return { name, type: ATTRIBUTE_TYPE.ints, ints: value.ints };
  if ('graph' in value) return { name, type: ATTRIBUTE_TYPE.graph, g: subgraphMessage(name, value.graph) };
  return { name, type: ATTRIBUTE_TYPE.tensor, t: tensorMessage(value.tensor) };
}

const nodeMessage = (node: OnnxNode, index: number) => ({
  name: `${node.op}_${index}`,
  opType: node.op,
  domain: node.domain,
  input: node.inputs,
  output: node.outputs,
  attribute: Object.entries(node.attributes).map(([name, value]) => attributeMessage(name, value)),
});

const valueMessage = (value: OnnxValue) => ({
  name: value.name,
  type: {
    tensorType: {
      elemType: ELEMENT[value.element],
      shape: { dim: value.dims.map((dim) => (typeof dim === 'number' ? { dimValue: dim } : { dimParam: dim })) },
    },
  },
});

export function encodeModel(model: OnnxModel): Uint8Array {
  const message = modelProto.create({
    irVersion: IR_VERSION,
    producerName: 'kubembed',
    opsetImport: Object.entries(model.opsets).map(([domain, version]) => ({ domain, version })),
    graph: {
      name: model.name,
      node: model.nodes.map(nodeMessage),
      initializer: model.initializers.map(tensorMessage),
      input: model.inputs.map(valueMessage),
      output: model.outputs.map(valueMessage),
    },
  });
  // encode() returns a view of a shared pool: copy, so that the result can be transferred to a worker.
  return modelProto.encode(message).finish().slice();
}

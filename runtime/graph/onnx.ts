// Encodes an ONNX ModelProto with protobufjs: only the messages and fields that the builders use.
import protobuf from 'protobufjs/light.js';

export const ELEMENT = {
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

/** A branch: its nodes may use every value of the graph around it. */
export interface OnnxSubgraph {
  readonly nodes: readonly OnnxNode[];
  readonly output: string;
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

const subgraphMessage = (name: string, { nodes, output }: OnnxSubgraph): object => ({
  name,
  node: nodes.map(nodeMessage),
  output: [{ name: output }],
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

// Collects the nodes and initializers of one graph; hands out value names.
import type { AttributeValue, Element, OnnxNode, OnnxTensor } from './onnx.ts';

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
  /** Computes one branch or the other. Values made inside of a branch must not be used outside of it. */
  branch(condition: Value, whenTrue: () => Value, whenFalse: () => Value): Value;
  initializer(tensor: OnnxTensor): Value;
  int64(values: readonly number[], dims?: readonly number[]): Value;
  int32(values: readonly number[], dims?: readonly number[]): Value;
  float32(values: readonly number[], dims?: readonly number[]): Value;
  readonly collected: { readonly nodes: readonly OnnxNode[]; readonly initializers: readonly OnnxTensor[] };
}

export const MICROSOFT = 'com.microsoft';

const bytesOf = (array: Int32Array | BigInt64Array | Float32Array) =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

export function createGraphBuilder(): GraphBuilder {
  const nodes: OnnxNode[] = [];
  let scope = nodes;
  const initializers = new Map<string, OnnxTensor>();
  let values = 0;

  const initializer = (tensor: OnnxTensor): Value => {
    initializers.set(tensor.name, tensor);
    return tensor.name;
  };
  // Equal constants share one initializer: the name says the value.
  const constant = (element: Element, key: string, data: Uint8Array, dims: readonly number[]): Value =>
    initializer({ name: `${element}[${dims.join(',')}]=${key}`, element, dims, data });
  const addNodes = (op: string, inputs: readonly Value[], extras: NodeExtras = {}): [Value, ...Value[]] => {
    const name = (): Value => `${op}:${values++}`;
    const outputs: [Value, ...Value[]] = [name()];
    for (let index = 1; index < (extras.outputs ?? 1); index++) outputs.push(name());
    scope.push({ op, domain: extras.domain ?? '', inputs, outputs, attributes: extras.attributes ?? {} });
    return outputs;
  };

  const inBranch = (make: () => Value): AttributeValue => {
    const outer = scope;
    const inner: OnnxNode[] = [];
    scope = inner;
    const output = make();
    scope = outer;
    return { graph: { nodes: inner, output } };
  };

  return {
    branch: (condition, whenTrue, whenFalse) =>
      addNodes('If', [condition], {
        attributes: { then_branch: inBranch(whenTrue), else_branch: inBranch(whenFalse) },
      })[0],
    node: (op, inputs, extras) => addNodes(op, inputs, extras)[0],
    nodes: addNodes,
    initializer,
    int64: (list, dims = [list.length]) =>
      constant('int64', list.join(), bytesOf(BigInt64Array.from(list, (value) => BigInt(value))), dims),
    int32: (list, dims = [list.length]) => constant('int32', list.join(), bytesOf(Int32Array.from(list)), dims),
    float32: (list, dims = [list.length]) => constant('float32', list.join(), bytesOf(Float32Array.from(list)), dims),
    get collected() {
      return { nodes, initializers: [...initializers.values()] };
    },
  };
}

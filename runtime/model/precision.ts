// Which precisions there are on which device, and in which one a repository's own ONNX file is computed. Pure.
import { ModelError } from '../../hub/files.ts';
import type { GraphPrecision } from '../graph/weights.ts';

type Device = 'cpu' | 'gpu';

/** The first one is the default. */
const PRECISIONS_OF: Readonly<Record<Device, readonly [GraphPrecision, ...GraphPrecision[]]>> = {
  cpu: ['float32', 'int8'],
  gpu: ['float16', 'float32'],
};

export const defaultPrecision = (device: Device): GraphPrecision => PRECISIONS_OF[device][0];

/** Why a precision cannot be had on a device; undefined where it can. */
export function precisionFault(device: Device, precision: GraphPrecision): string | undefined {
  if (PRECISIONS_OF[device].includes(precision)) return undefined;
  return `precision ${precision} needs device ${device === 'cpu' ? 'gpu' : 'cpu'}`;
}

/**
 * A repository's ONNX file is run as it is, in float32: half precision is what a GPU has unless something else is asked for, int8 is always
 * asked for.
 */
export function precisionOfFile(asked: GraphPrecision): GraphPrecision {
  if (asked !== 'int8') return 'float32';
  throw new ModelError(
    'UnsupportedArchitecture',
    "The repository's own ONNX file is run as it is, and there is no int8 of it. Set precision to float32.",
  );
}

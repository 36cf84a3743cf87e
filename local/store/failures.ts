// The failures an API server answers with, as it words them.
import { ApiError } from '../../kube/client.ts';
import { typeName } from '../../kube/types.ts';
import type { ResourceType } from '../../kube/types.ts';

export const notFound = (type: ResourceType, name: string): ApiError =>
  new ApiError({ status: 404, reason: 'NotFound', message: `${typeName(type)} "${name}" not found` });

export const alreadyExists = (type: ResourceType, name: string): ApiError =>
  new ApiError({ status: 409, reason: 'AlreadyExists', message: `${typeName(type)} "${name}" already exists` });

export const conflict = (type: ResourceType, name: string, why: string): ApiError =>
  new ApiError({
    status: 409,
    reason: 'Conflict',
    message: `Operation cannot be fulfilled on ${typeName(type)} "${name}": ${why}`,
  });

export const modified = (type: ResourceType, name: string): ApiError =>
  conflict(type, name, 'the object has been modified; please apply your changes to the latest version and try again');

export const invalid = (type: ResourceType, name: string, causes: readonly string[]): ApiError =>
  new ApiError({
    status: 422,
    reason: 'Invalid',
    message: `${type.kind}${type.group ? `.${type.group}` : ''} "${name}" is invalid: ${causes.join(', ')}`,
  });

export const badRequest = (message: string): ApiError => new ApiError({ status: 400, reason: 'BadRequest', message });

export const expired = (resourceVersion: string, oldest: number): ApiError =>
  new ApiError({
    status: 410,
    reason: 'Expired',
    message: `too old resource version: ${resourceVersion} (${oldest})`,
  });

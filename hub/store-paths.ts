// Names and places in a model store, which is laid out like the Hugging Face cache. Pure.
import path from 'node:path';
import { ModelError } from '../runtime/model/errors.ts';

const ID_PART = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?$/;

export const isCommitSha = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);

/** Throws unless the id is `name` or `org/name` as the Hugging Face Hub allows them; so nothing that could leave the store. */
export const checkModelId = (modelId: string): void => {
  const parts = modelId.split('/');
  const sound =
    parts.length <= 2 &&
    modelId.length <= 96 &&
    parts.every((part) => ID_PART.test(part) && !part.includes('--') && !part.includes('..'));
  if (!sound) {
    throw new ModelError('InvalidModelId', `"${modelId}" is no Hugging Face model id; expected "org/name" or "name"`);
  }
};

/** Throws unless the revision is a plain ref name or commit. Slashes are allowed, as in `refs/pr/1`. */
export const checkRevision = (revision: string): void => {
  const sound =
    revision.length <= 200 &&
    revision.split('/').every((part) => /^[A-Za-z0-9_][A-Za-z0-9._+-]*$/.test(part) && !part.includes('..'));
  if (!sound) throw new ModelError('RevisionNotFound', `"${revision}" is no name of a branch, tag or commit`);
};

export interface StorePaths {
  /** `models--org--name`. */
  readonly folder: string;
  readonly blobs: string;
  readonly snapshots: string;
  readonly refs: string;
  readonly locks: string;
  /** Our own records of which snapshots are known to be whole. */
  readonly complete: string;
  /** Where Python's client notes files that a revision does not have. */
  readonly noExist: string;
}

export const storePaths = (store: string, modelId: string): StorePaths => {
  checkModelId(modelId);
  const name = `models--${modelId.replaceAll('/', '--')}`;
  const folder = path.join(store, name);
  return {
    folder,
    blobs: path.join(folder, 'blobs'),
    snapshots: path.join(folder, 'snapshots'),
    refs: path.join(folder, 'refs'),
    locks: path.join(store, '.locks', name),
    complete: path.join(folder, '.kubembed'),
    noExist: path.join(folder, '.no_exist'),
  };
};

export interface StoreLocation {
  readonly kubembedStore?: string | undefined;
  readonly hfHubCache?: string | undefined;
  readonly hfHome?: string | undefined;
  readonly xdgCacheHome?: string | undefined;
  readonly home: string;
}

const set = (value: string | undefined): string | undefined => (value === '' ? undefined : value);

/** The store's folder by the rules of huggingface_hub, with our own variable first; an empty value counts as unset. */
export const locateStore = (from: StoreLocation): string => {
  const cacheHome = set(from.xdgCacheHome) ?? path.join(from.home, '.cache');
  const hfHome = set(from.hfHome) ?? path.join(cacheHome, 'huggingface');
  const chosen = set(from.kubembedStore) ?? set(from.hfHubCache) ?? path.join(hfHome, 'hub');
  const expanded = chosen === '~' || chosen.startsWith('~/') ? path.join(from.home, chosen.slice(1)) : chosen;
  return path.resolve(expanded);
};

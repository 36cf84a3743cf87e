// Where models come from and where they lie: the environment's settings, ids and revisions, the folders of the store. Pure.
import path from 'node:path';
import type { Environment } from '../common/util/env.ts';
import { ModelError } from './files.ts';
import { hubLoginIn, networkFrom, tokenIn } from './network.ts';
import type { Login, Named, NetworkSettings } from './network.ts';

// The environment, as every Hugging Face tool reads it.

export interface HubSettings extends NetworkSettings {
  /** `HF_ENDPOINT`; undefined: `https://huggingface.co`. */
  readonly endpoint: string | undefined;
  /** `HF_TOKEN`; sent to the endpoint's own origin alone. */
  readonly token: Named | undefined;
  /** Where there is no token; sent to that origin alone as well. */
  readonly login: Login | undefined;
  /** `HF_HUB_OFFLINE`, else `TRANSFORMERS_OFFLINE`: the store is the only source. */
  readonly offline: boolean;
}

export interface ModelSettings {
  /** Root of the model store: the folder that holds `models--org--name`. */
  readonly store: string;
  readonly hub: HubSettings;
}

const TRUE = new Set(['1', 'on', 'yes', 'true']);

/**
 * By the rules of huggingface_hub, `KUBEMBED_STORE` first; an empty value counts as unset.
 * @param home the user's home folder
 */
export function readModelSettings(env: Environment, home: string): ModelSettings {
  const set = (name: string): string | undefined => (env[name] === '' ? undefined : env[name]);
  const hfHome = set('HF_HOME') ?? path.join(set('XDG_CACHE_HOME') ?? path.join(home, '.cache'), 'huggingface');
  const store = set('KUBEMBED_STORE') ?? set('HF_HUB_CACHE') ?? path.join(hfHome, 'hub');
  return {
    store: path.resolve(store === '~' || store.startsWith('~/') ? path.join(home, store.slice(1)) : store),
    hub: {
      endpoint: set('HF_ENDPOINT'),
      token: tokenIn(env),
      login: hubLoginIn(env),
      offline: TRUE.has((set('HF_HUB_OFFLINE') ?? set('TRANSFORMERS_OFFLINE') ?? '').toLowerCase()),
      ...networkFrom(env, hfHome),
    },
  };
}

// Ids and revisions.

export interface ModelRevision {
  readonly modelId: string;
  /** Branch, tag or commit. */
  readonly revision: string;
}

const ID_PART = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?$/;

/** Throws unless the id is `name` or `org/name` as the Hugging Face Hub allows them; so nothing that could leave the store. */
export function checkModelId(modelId: string): void {
  const parts = modelId.split('/');
  const sound =
    parts.length <= 2 &&
    modelId.length <= 96 &&
    parts.every((part) => ID_PART.test(part) && !part.includes('--') && !part.includes('..'));
  if (!sound) {
    throw new ModelError('InvalidModelId', `"${modelId}" is no Hugging Face model id; expected "org/name" or "name"`);
  }
}

/** Throws unless the revision is a plain ref name or commit. Slashes are allowed, as in `refs/pr/1`. */
export function checkRevision(revision: string): void {
  const sound =
    revision.length <= 200 &&
    revision.split('/').every((part) => /^[A-Za-z0-9_][A-Za-z0-9._+-]*$/.test(part) && !part.includes('..'));
  if (!sound) throw new ModelError('RevisionNotFound', `"${revision}" is no name of a branch, tag or commit`);
}

// The store's folders, laid out like the Hugging Face cache.

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

/** Throws for an id that is not one. */
export function storePaths(store: string, modelId: string): StorePaths {
  checkModelId(modelId);
  const name = `models--${modelId.replace('/', '--')}`;
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
}

// A repository at a hub: the commit that a revision names, its files, small ones of them whole, and what each refusal means.
import { z } from 'zod';
import { isCommitSha } from '../common/util/text.ts';
import { CREDENTIALS, TransientError, discardBody, readBody, refuseTransient, retrying } from './client.ts';
import type { Gains, HubClient, HubResponse, RetryPolicy } from './client.ts';
import { ModelError, isEtag, parseObject } from './files.ts';
import type { ModelErrorReason, RepositoryFile } from './files.ts';
import type { ModelRevision } from './paths.ts';

export interface HubRepository extends ModelRevision {
  readonly hub: HubClient;
  readonly retry: RetryPolicy;
}

export interface Listing {
  readonly sha: string;
  /** Every file name of the commit. */
  readonly names: readonly string[];
  /** Files whose size and hash the listing already told. */
  readonly known: ReadonlyMap<string, RepositoryFile>;
}

// What a listing says.

const listingSchema = z.object({
  sha: z.string().refine(isCommitSha),
  siblings: z.array(
    z.object({
      rfilename: z.string(),
      size: z.number().int().nonnegative().nullish(),
      blobId: z.string().nullish(),
      lfs: z.object({ sha256: z.string().nullish(), oid: z.string().nullish(), size: z.number().nullish() }).nullish(),
    }),
  ),
});
type Sibling = z.infer<typeof listingSchema>['siblings'][number];

const fileOf = (sibling: Sibling): RepositoryFile | undefined => {
  const etag = sibling.lfs?.sha256 ?? sibling.lfs?.oid ?? sibling.blobId;
  const size = sibling.lfs?.size ?? sibling.size;
  if (typeof etag !== 'string' || !isEtag(etag) || typeof size !== 'number') return undefined;
  return { name: sibling.rfilename, size, etag };
};

export const parseListing = (text: string): Listing | undefined => {
  const { data } = listingSchema.safeParse(parseObject(text));
  if (data === undefined) return undefined;
  const files = data.siblings.map(fileOf).filter((file) => file !== undefined);
  return {
    sha: data.sha,
    names: data.siblings.map((sibling) => sibling.rfilename),
    known: new Map(files.map((file) => [file.name, file])),
  };
};

// What a refusal means.

const REASON_BY_ERROR_CODE: Readonly<Record<string, ModelErrorReason>> = {
  RepoNotFound: 'RepositoryNotFound',
  GatedRepo: 'GatedRepository',
  RevisionNotFound: 'RevisionNotFound',
  EntryNotFound: 'RevisionNotFound',
};
const REASON_BY_STATUS: Readonly<Record<number, ModelErrorReason>> = {
  401: 'GatedRepository',
  403: 'GatedRepository',
  404: 'RepositoryNotFound',
};

const advice = (reason: ModelErrorReason, { modelId, hub }: Pick<HubRepository, 'modelId' | 'hub'>): string => {
  const page = `${hub.endpoint}/${modelId}`;
  const token = CREDENTIALS[hub.credentials];
  const words: Partial<Record<ModelErrorReason, string>> = {
    RepositoryNotFound: `there is no such model, or it is private and ${token}; check the spelling, or set a token that may read it`,
    GatedRepository: `access is restricted and ${token}; accept the licence at ${page} and set the token of an account that has access`,
    RevisionNotFound: `the repository has no revision or file of that name; see ${page}/tree/main`,
  };
  return words[reason] ?? 'the answer is not one of a Hugging Face Hub; check HF_ENDPOINT';
};

/** A hub forbids by an error code or by JSON. A company's proxy shows people a page. */
const isBlocked = ({ status, headers }: Pick<HubResponse, 'status' | 'headers'>): boolean =>
  status === 403 && headers['x-error-code'] === undefined && (headers['content-type'] ?? '').startsWith('text/html');

/** The error for a final refusal. */
export const refusal = (
  response: Pick<HubResponse, 'status' | 'headers'>,
  repository: Pick<HubRepository, 'modelId' | 'revision' | 'hub'>,
): ModelError => {
  const { status, headers } = response;
  const { modelId, revision, hub } = repository;
  if (isBlocked(response)) {
    const words = `${hub.endpoint} answered 403 with a web page, as no hub does. It may be blocked on the way: ask for an exception, or name a mirror in HF_ENDPOINT`;
    return new ModelError('HubUnreachable', `${modelId}@${revision}: ${words}`);
  }
  const code = headers['x-error-code'] ?? '';
  const reason = REASON_BY_ERROR_CODE[code] ?? REASON_BY_STATUS[status] ?? 'HubUnreachable';
  const said = `${hub.endpoint} answered ${status}${code === '' ? '' : ` (${code})`}`;
  return new ModelError(reason, `${modelId}@${revision}: ${said}: ${advice(reason, repository)}`);
};

/** Tries as often as the repository's policy says; a failure that never passed is told as the hub's being unreachable. */
export const persistently = async <T>(
  { hub, modelId, retry }: HubRepository,
  what: string,
  attempt: () => Promise<T>,
  gains?: Gains,
): Promise<T> => {
  try {
    return await retrying(retry, what, attempt, gains);
  } catch (error) {
    if (!(error instanceof TransientError)) throw error;
    throw new ModelError(
      'HubUnreachable',
      `${modelId}: ${hub.endpoint} cannot be used: ${error.message.replace(`${hub.endpoint}: `, '')}. Check the network, the proxy and HF_ENDPOINT, or put the model into the store and set HF_HUB_OFFLINE=1`,
      { cause: error },
    );
  }
};

// Questions to the hub.

const MAX_ANSWER_BYTES = 64 << 20;

const pathOf = (...parts: readonly string[]): string =>
  parts.map((part) => `/${part.split('/').map(encodeURIComponent).join('/')}`).join('');

export const filePath = ({ modelId, revision }: ModelRevision, name: string): string =>
  pathOf(modelId, 'resolve', revision, name);

const exists = async ({ hub, modelId, retry }: HubRepository): Promise<boolean> => {
  const response = await hub.send(`/api/models${pathOf(modelId)}`, { signal: retry.signal });
  discardBody(response);
  return response.status === 200;
};

const isNamelessNotFound = ({ status, headers }: HubResponse): boolean =>
  status === 404 && headers['x-error-code'] === undefined;

const listOnce = async (repository: HubRepository): Promise<Listing> => {
  const { hub, modelId, revision, retry } = repository;
  const path = `/api/models${pathOf(modelId)}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const response = await hub.send(path, { signal: retry.signal });
  refuseTransient(response, Date.now());
  if (response.status !== 200) {
    discardBody(response);
    const missing = isNamelessNotFound(response) && (await exists(repository));
    throw refusal(missing ? { ...response, headers: { 'x-error-code': 'RevisionNotFound' } } : response, repository);
  }
  const listing = parseListing((await readBody(response, MAX_ANSWER_BYTES, retry.signal)).toString('utf8'));
  if (listing !== undefined) return listing;
  throw new ModelError(
    'HubUnreachable',
    `${modelId}: ${hub.endpoint} answered something else than a model's description; check HF_ENDPOINT`,
  );
};

/** The commit that the revision names now, and its files. */
export const listRevision = async (repository: HubRepository): Promise<Listing> => {
  const { modelId, revision } = repository;
  return await persistently(repository, `${modelId}@${revision}`, async () => await listOnce(repository));
};

const unquote = (etag: string): string => etag.replace(/^W\//, '').replace(/^"|"$/g, '');

const headOnce = async (repository: HubRepository, name: string): Promise<RepositoryFile> => {
  const { hub, modelId, retry } = repository;
  const response = await hub.send(filePath(repository, name), { method: 'HEAD', signal: retry.signal, follow: 'own' });
  refuseTransient(response, Date.now());
  discardBody(response);
  if (response.status >= 400) throw refusal(response, repository);
  const etag = unquote(response.headers['x-linked-etag'] ?? response.headers['etag'] ?? '');
  const size = Number(response.headers['x-linked-size'] ?? response.headers['content-length'] ?? Number.NaN);
  if (isEtag(etag) && Number.isSafeInteger(size)) return { name, size, etag };
  throw new ModelError(
    'HubUnreachable',
    `${modelId}: ${hub.endpoint} tells neither size nor hash of ${name}; check HF_ENDPOINT`,
  );
};

/** Size and hash of one file of a commit, for hubs whose listing does not tell. */
export const describeFile = async (repository: HubRepository, name: string): Promise<RepositoryFile> =>
  await persistently(repository, name, async () => await headOnce(repository, name));

/**
 * A small file of a commit, or the `range` of one (`0-7`): undefined when the server sends the whole file instead, which may be the
 * weights.
 */
export const readRemoteFile = async (
  repository: HubRepository,
  name: string,
  range?: string,
): Promise<Buffer | undefined> => {
  const { hub, retry } = repository;
  const headers = range === undefined ? undefined : { range: `bytes=${range}` };
  return await persistently(repository, name, async () => {
    const response = await hub.send(filePath(repository, name), { signal: retry.signal, headers });
    refuseTransient(response, Date.now());
    if (response.status < 400 && (range === undefined || response.status === 206)) {
      return await readBody(response, MAX_ANSWER_BYTES, retry.signal);
    }
    discardBody(response);
    if (response.status >= 400) throw refusal(response, repository);
    return undefined;
  });
};

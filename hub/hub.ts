// The Hugging Face Hub's answers as values: a revision's commit and files, and what each refusal means.
import { z } from 'zod';
import { ModelError } from '../runtime/model/errors.ts';
import type { ModelErrorReason } from '../runtime/model/errors.ts';
import { discardBody, readBody, refuseTransient } from './hub-http.ts';
import type { HubHttp, HubResponse } from './hub-http.ts';
import { TransientError, retrying } from './hub-retry.ts';
import type { RetryContext } from './hub-retry.ts';
import { isCommitSha } from './store-paths.ts';

/** A file of a commit, with what proves that its bytes are right. */
export interface RemoteFile {
  readonly name: string;
  readonly size: number;
  /** SHA-256 of the content for files in LFS, git's blob id for the others; also the blob's name in the store. */
  readonly etag: string;
}

export interface Listing {
  readonly sha: string;
  /** Every file name of the commit. */
  readonly names: readonly string[];
  /** Files whose size and hash the listing already told. */
  readonly known: ReadonlyMap<string, RemoteFile>;
}

const LISTING_LIMIT = 64 << 20;

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

export const isEtag = (etag: string): boolean => /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(etag);

const fileOf = (sibling: Sibling): RemoteFile | undefined => {
  const etag = sibling.lfs?.sha256 ?? sibling.lfs?.oid ?? sibling.blobId;
  const size = sibling.lfs?.size ?? sibling.size;
  if (typeof etag !== 'string' || !isEtag(etag) || typeof size !== 'number') return undefined;
  return { name: sibling.rfilename, size, etag };
};

export const parseListing = (text: string): Listing | undefined => {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = listingSchema.safeParse(json);
  if (!parsed.success) return undefined;
  const files = parsed.data.siblings.map(fileOf).filter((file) => file !== undefined);
  return {
    sha: parsed.data.sha,
    names: parsed.data.siblings.map((sibling) => sibling.rfilename),
    known: new Map(files.map((file) => [file.name, file])),
  };
};

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

export interface Asked {
  readonly modelId: string;
  readonly revision: string;
}

const advice = (reason: ModelErrorReason, asked: Asked, hub: HubHttp): string => {
  const page = `${hub.endpoint}/${asked.modelId}`;
  const token = hub.hasToken ? 'the token that HF_TOKEN holds has no access' : 'no token was given (HF_TOKEN)';
  const words: Partial<Record<ModelErrorReason, string>> = {
    RepositoryNotFound: `there is no such model, or it is private and ${token}; check the spelling, or set a token that may read it`,
    GatedRepository: `access is restricted and ${token}; accept the licence at ${page} and set the token of an account that has access`,
    RevisionNotFound: `the repository has no revision or file of that name; see ${page}/tree/main`,
  };
  return words[reason] ?? 'the answer is not one of a Hugging Face Hub; check HF_ENDPOINT';
};

/** The error for a final refusal. */
export const refusal = (response: HubResponse, asked: Asked, hub: HubHttp): ModelError => {
  const code = response.headers['x-error-code'] ?? '';
  const reason = REASON_BY_ERROR_CODE[code] ?? REASON_BY_STATUS[response.status] ?? 'HubUnreachable';
  const said = `${hub.endpoint} answered ${response.status}${code === '' ? '' : ` (${code})`}`;
  return new ModelError(reason, `${asked.modelId}@${asked.revision}: ${said}: ${advice(reason, asked, hub)}`);
};

const pathOf = (...parts: readonly string[]): string =>
  parts.map((part) => `/${part.split('/').map(encodeURIComponent).join('/')}`).join('');

export const filePath = (modelId: string, sha: string, name: string): string => pathOf(modelId, 'resolve', sha, name);

/** A retried failure that never passed, as the reason a person reads. */
export const asUnreachable = (error: unknown, modelId: string, hub: HubHttp): unknown =>
  error instanceof TransientError
    ? new ModelError(
        'HubUnreachable',
        `${modelId}: ${hub.endpoint} cannot be used: ${error.message.replace(`${hub.endpoint}: `, '')}. Check the network, the proxy and HF_ENDPOINT, or put the model into the store and set HF_HUB_OFFLINE=1`,
        { cause: error },
      )
    : error;

const exists = async (hub: HubHttp, modelId: string, signal: AbortSignal): Promise<boolean> => {
  const response = await hub.send(`/api/models${pathOf(modelId)}`, { signal });
  discardBody(response);
  return response.status === 200;
};

const isNamelessNotFound = (response: HubResponse): boolean =>
  response.status === 404 && response.headers['x-error-code'] === undefined;

const listOnce = async (hub: HubHttp, asked: Asked, signal: AbortSignal): Promise<Listing> => {
  const path = `/api/models${pathOf(asked.modelId)}/revision/${encodeURIComponent(asked.revision)}?blobs=true`;
  const response = await hub.send(path, { signal });
  refuseTransient(response, Date.now());
  if (response.status !== 200) {
    discardBody(response);
    const missing = isNamelessNotFound(response) && (await exists(hub, asked.modelId, signal));
    const named = missing ? { ...response, headers: { 'x-error-code': 'RevisionNotFound' } } : response;
    throw refusal(named, asked, hub);
  }
  const listing = parseListing((await readBody(response, LISTING_LIMIT, signal)).toString('utf8'));
  if (listing !== undefined) return listing;
  throw new ModelError(
    'HubUnreachable',
    `${asked.modelId}: ${hub.endpoint} answered something else than a model's description; check HF_ENDPOINT`,
  );
};

/** The commit that a revision names now, and its files. */
export const listRevision = async (hub: HubHttp, asked: Asked, retry: RetryContext): Promise<Listing> => {
  try {
    return await retrying(
      retry,
      `${asked.modelId}@${asked.revision}`,
      async () => await listOnce(hub, asked, retry.signal),
    );
  } catch (error) {
    throw asUnreachable(error, asked.modelId, hub);
  }
};

const unquote = (etag: string): string => etag.replace(/^W\//, '').replace(/^"|"$/g, '');

const headOnce = async (hub: HubHttp, asked: Asked, name: string, signal: AbortSignal): Promise<RemoteFile> => {
  const path = filePath(asked.modelId, asked.revision, name);
  const response = await hub.send(path, { method: 'HEAD', signal, follow: 'own' });
  refuseTransient(response, Date.now());
  discardBody(response);
  if (response.status >= 400) throw refusal(response, asked, hub);
  const etag = unquote(response.headers['x-linked-etag'] ?? response.headers['etag'] ?? '');
  const size = Number(response.headers['x-linked-size'] ?? response.headers['content-length'] ?? Number.NaN);
  if (!isEtag(etag) || !Number.isSafeInteger(size)) {
    throw new ModelError(
      'HubUnreachable',
      `${asked.modelId}: ${hub.endpoint} tells neither size nor hash of ${name}; check HF_ENDPOINT`,
    );
  }
  return { name, size, etag };
};

/** Size and hash of one file of a commit, for hubs whose listing does not tell. */
export const describeFile = async (
  hub: HubHttp,
  asked: Asked,
  name: string,
  retry: RetryContext,
): Promise<RemoteFile> => {
  try {
    return await retrying(retry, name, async () => await headOnce(hub, asked, name, retry.signal));
  } catch (error) {
    throw asUnreachable(error, asked.modelId, hub);
  }
};

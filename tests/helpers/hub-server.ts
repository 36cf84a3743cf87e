// A hub-shaped server with switchable faults: model API, resolve with metadata headers, LFS files from a second origin. Also a script:
//   node tests/helpers/hub-server.ts (--store HF_CACHE | --dir FOLDER_OF_org/name) [--host H] [--port N] [--cdn-port N] [--no-cdn] [--token T] [--gated ID]
// As a script it takes faults by `POST /_faults` (a JSON array of Fault) and tells its log by `GET /_requests`.
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, existsSync, readFileSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

export type Content = Buffer | { readonly path: string };

/** What goes wrong with matching requests; the first fault that matches and has `times` left acts. */
export interface Fault {
  /** Part of the path; every path when omitted. */
  readonly match?: string;
  readonly origin?: 'hub' | 'cdn';
  readonly method?: string;
  /** How often; always when omitted. */
  times?: number;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Destroy the socket after so many body bytes. */
  readonly cutAfterBytes?: number;
  /** Send nothing more after so many body bytes, and keep the connection. */
  readonly stallAfterBytes?: number;
  readonly slowStartMs?: number;
  readonly bytesPerSecond?: number;
  /** Size of the pieces in which the body is sent, where not of 64 KiB. */
  readonly pieceBytes?: number;
  /** Announce and send this many bytes more (or fewer) than the file has. */
  readonly extraBytes?: number;
  /** Flip a bit of the first byte sent. */
  readonly flip?: boolean;
  /** Answer a range request with the whole file. */
  readonly ignoreRange?: boolean;
  /** Answer 503 while so many such requests are being answered, as a proxy does with too many connections of one client. */
  readonly mostAtOnce?: number;
}

export interface RequestRecord {
  readonly origin: 'hub' | 'cdn';
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

export interface HubServerOptions {
  readonly host?: string;
  readonly port?: number;
  readonly cdnPort?: number;
  /** LFS files come from the hub itself. */
  readonly noCdn?: boolean;
  /** As what the second origin is known to clients, where something stands between: `https://cdn.example.com`. */
  readonly cdnAddress?: string;
  /** Grants access to gated repositories. */
  readonly token?: string;
  /**
   * LFS files are as the hub serves Xet-backed ones to plain clients: headers for clients that know the protocol, and a signed address of a
   * store that has an ETag of its own, is good for so many requests, and takes no other credentials and no HEAD.
   */
  readonly xet?: { readonly usesOfAddress: number };
  /** The listing leaves out sizes and hashes, as old mirrors do. */
  readonly bareListing?: boolean;
}

export interface HubServer {
  readonly endpoint: string;
  readonly cdnOrigin: string;
  faults: Fault[];
  readonly requests: RequestRecord[];
  /** Adds a commit and points `main` at it; the sha is made from the content when none is given. */
  commit(modelId: string, files: Readonly<Record<string, Content>>, sha?: string): string;
  /** From now on only those with the token may read it. */
  gate(modelId: string): void;
  close(): Promise<void>;
}

interface RepoFile {
  readonly name: string;
  readonly content: Content;
  readonly size: number;
  readonly lfs: boolean;
  readonly etag: string;
}
interface Repo {
  readonly commits: Map<string, Map<string, RepoFile>>;
  readonly refs: Map<string, string>;
  gated: boolean;
}

const LFS_NAMES = /\.(safetensors|onnx|onnx_data|bin|model)$/;
const LFS_BYTES = 10 << 20;

const sizeOf = (content: Content): number => (Buffer.isBuffer(content) ? content.length : statSync(content.path).size);
const bytesOf = (content: Content): Buffer => (Buffer.isBuffer(content) ? content : readFileSync(content.path));

const repoFile = (name: string, content: Content): RepoFile => {
  const size = sizeOf(content);
  const lfs = LFS_NAMES.test(name) || size > LFS_BYTES;
  const hash = lfs ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
  return { name, content, size, lfs, etag: hash.update(bytesOf(content)).digest('hex') };
};

const xetHashOf = ({ etag }: RepoFile): string => createHash('sha256').update(`xet ${etag}`).digest('hex');

const shaOf = (files: Iterable<RepoFile>): string => {
  const hash = createHash('sha1');
  for (const { name, etag } of files) hash.update(`${name} ${etag}\n`);
  return hash.digest('hex');
};

function* piecesOf(content: Buffer, start: number, end: number, length: number): Iterable<Buffer> {
  for (let at = start; at < end; at += length) yield content.subarray(at, Math.min(at + length, end));
}

const openContent = (content: Content, start: number, end: number, length = 65_536): Iterable<Buffer> | Readable =>
  Buffer.isBuffer(content)
    ? piecesOf(content, start, end, length)
    : createReadStream(content.path, { start, end: end - 1, highWaterMark: length });

const never = async (response: ServerResponse): Promise<void> =>
  await new Promise((resolve) => response.once('close', () => resolve()));

const drained = async (response: ServerResponse): Promise<void> =>
  await new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.once('drain', done);
    response.once('close', done);
  });

const breakOff = async (response: ServerResponse, fault: Fault): Promise<void> => {
  if (fault.stallAfterBytes !== undefined) await never(response);
  // Next turn: what was written shall leave first.
  else setImmediate(() => response.destroy());
};

/** Sends the pieces as the fault wants them. */
const sendBody = async (response: ServerResponse, pieces: AsyncIterable<Buffer> | Iterable<Buffer>, fault: Fault) => {
  let sent = 0;
  const limit = Math.min(fault.cutAfterBytes ?? Infinity, fault.stallAfterBytes ?? Infinity);
  for await (const piece of pieces) {
    const part = piece.subarray(0, Math.max(0, limit - sent));
    if (fault.flip === true && sent === 0) part[0] = (part[0] ?? 0) ^ 1;
    sent += part.length;
    if (!response.write(part)) await drained(response);
    if (response.destroyed) return;
    if (fault.bytesPerSecond !== undefined) await sleep((part.length / fault.bytesPerSecond) * 1000);
    if (sent >= limit) {
      await breakOff(response, fault);
      return;
    }
  }
  response.end(Buffer.alloc(Math.max(0, fault.extraBytes ?? 0)));
};

const parseRange = (header: string | undefined, size: number) => {
  const [, start, last] = /^bytes=(\d+)-(\d*)$/.exec(header ?? '') ?? [];
  if (start === undefined) return { start: 0, end: size, valid: true, partial: false };
  const end = last === undefined || last === '' ? size : Math.min(size, Number(last) + 1);
  return { start: Number(start), end, valid: Number(start) < size, partial: true };
};

const sendFile = async (request: IncomingMessage, response: ServerResponse, file: RepoFile, fault: Fault) => {
  const range = parseRange(fault.ignoreRange === true ? undefined : request.headers.range, file.size);
  if (!range.valid) {
    response.writeHead(416, { 'content-range': `bytes */${file.size}` }).end();
    return;
  }
  const end = range.end + Math.min(0, fault.extraBytes ?? 0);
  const announced = range.end + (fault.extraBytes ?? 0);
  response.writeHead(range.partial ? 206 : 200, {
    'content-length': announced - range.start,
    'accept-ranges': 'bytes',
    etag: `"${file.etag}"`,
    ...(range.partial
      ? { 'content-range': `bytes ${range.start}-${announced - 1}/${Math.max(file.size, announced)}` }
      : {}),
  });
  if (request.method === 'HEAD') response.end();
  // A flipped bit must not spoil the content itself.
  else if (fault.flip === true && Buffer.isBuffer(file.content)) {
    await sendBody(response, openContent(Buffer.from(file.content), range.start, end, fault.pieceBytes), fault);
  } else await sendBody(response, openContent(file.content, range.start, end, fault.pieceBytes), fault);
};

class Refusal extends Error {
  readonly status: number;
  readonly code: string | undefined;
  constructor(status: number, code?: string) {
    super(code ?? `status ${status}`);
    this.status = status;
    this.code = code;
  }
}

const sendRefusal = (response: ServerResponse, { status, code, message }: Refusal): void => {
  const headers = code === undefined ? {} : { 'x-error-code': code, 'x-error-message': message };
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify({ error: message }));
};

const listing = (modelId: string, repo: Repo, sha: string, withBlobs: boolean): string =>
  JSON.stringify({
    id: modelId,
    modelId,
    sha,
    private: false,
    gated: repo.gated ? 'manual' : false,
    siblings: [...(repo.commits.get(sha) ?? new Map<string, RepoFile>()).values()].map(({ name, size, etag, lfs }) => ({
      rfilename: name,
      ...(withBlobs ? { size } : {}),
      ...(withBlobs && !lfs ? { blobId: etag } : {}),
      ...(withBlobs && lfs ? { blobId: '0'.repeat(40), lfs: { sha256: etag, size, pointerSize: 134 } } : {}),
    })),
  });

const API = /^\/api\/models\/((?:[^/]+\/)?[^/]+?)(?:\/(revision|tree)\/([^/?]+))?$/;
const RESOLVE = /^\/((?:[^/]+\/)?[^/]+)\/resolve\/([^/]+)\/(.+)$/;

const listen = async (server: Server, host: string, port: number): Promise<string> => {
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  const name = host === '0.0.0.0' ? '127.0.0.1' : host;
  return `http://${name.includes(':') ? `[${name}]` : name}:${(server.address() as AddressInfo).port}`;
};

const shut = async (server: Server): Promise<void> => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
};

const readText = async (request: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
};

export const startHubServer = async (options: HubServerOptions = {}): Promise<HubServer> => {
  const repos = new Map<string, Repo>();
  const blobs = new Map<string, RepoFile>();
  const host = options.host ?? '127.0.0.1';

  /** Uses that are left of each signed address. */
  const signatures = new Map<string, number>();
  const signedAddress = (base: string, { etag }: RepoFile, { usesOfAddress }: { usesOfAddress: number }): string => {
    const signature = randomBytes(16).toString('hex');
    signatures.set(signature, usesOfAddress);
    return `${base}/xet-bridge/${etag}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=3600&X-Amz-Signature=${signature}`;
  };
  const checkSignature = (request: IncomingMessage, { searchParams }: URL): void => {
    const signature = searchParams.get('X-Amz-Signature') ?? '';
    const uses = signatures.get(signature) ?? 0;
    // As object stores do with two kinds of credentials, and with a method that was not signed.
    if (request.headers.authorization !== undefined) throw new Refusal(400);
    if (request.method !== 'GET' || uses === 0) throw new Refusal(403);
    signatures.set(signature, uses - 1);
  };

  const underWay = new Map<Fault, number>();
  const nextFault = (origin: 'hub' | 'cdn', request: IncomingMessage): Fault => {
    const fault = state.faults.find(
      (rule) =>
        (rule.origin === undefined || rule.origin === origin) &&
        (rule.method === undefined || rule.method === request.method) &&
        (rule.match === undefined || (request.url ?? '').includes(rule.match)) &&
        (rule.times === undefined || rule.times > 0),
    );
    if (fault?.times !== undefined) fault.times -= 1;
    return fault ?? {};
  };

  const mayRead = (repo: Repo, request: IncomingMessage): boolean =>
    !repo.gated || (options.token !== undefined && request.headers.authorization === `Bearer ${options.token}`);

  const answerApi = (response: ServerResponse, url: URL, match: RegExpExecArray): void => {
    const modelId = decodeURIComponent(match[1] ?? '');
    const repo = repos.get(modelId);
    // The real hub hides from strangers whether a repository exists.
    if (repo === undefined) throw new Refusal(401, 'RepoNotFound');
    const revision = decodeURIComponent(match[3] ?? 'main');
    const sha = repo.refs.get(revision) ?? revision;
    const files = repo.commits.get(sha);
    if (files === undefined) throw new Refusal(404, 'RevisionNotFound');
    response.writeHead(200, { 'content-type': 'application/json' });
    if (match[2] !== 'tree') {
      const withBlobs = url.searchParams.has('blobs') && options.bareListing !== true;
      response.end(listing(modelId, repo, sha, withBlobs));
      return;
    }
    response.end(
      JSON.stringify(
        [...files.values()].map(({ name, size, etag, lfs }) => ({
          type: 'file',
          path: name,
          size,
          oid: etag,
          ...(lfs ? { lfs: { oid: etag, size, pointerSize: 134 } } : {}),
        })),
      ),
    );
  };

  const findFile = (request: IncomingMessage, match: RegExpExecArray): { sha: string; file: RepoFile } => {
    const [modelId = '', revision = '', name = ''] = match.slice(1).map(decodeURIComponent);
    const repo = repos.get(modelId);
    if (repo === undefined) throw new Refusal(401, 'RepoNotFound');
    if (!mayRead(repo, request)) {
      throw new Refusal(request.headers.authorization === undefined ? 401 : 403, 'GatedRepo');
    }
    const sha = repo.refs.get(revision) ?? revision;
    const files = repo.commits.get(sha);
    if (files === undefined) throw new Refusal(404, 'RevisionNotFound');
    const file = files.get(name);
    if (file === undefined) throw new Refusal(404, 'EntryNotFound');
    return { sha, file };
  };

  const answerResolve = async (
    request: IncomingMessage,
    response: ServerResponse,
    match: RegExpExecArray,
    fault: Fault,
  ) => {
    const { sha, file } = findFile(request, match);
    response.setHeader('x-repo-commit', sha);
    if (file.lfs) {
      response.setHeader('x-linked-size', file.size);
      response.setHeader('x-linked-etag', `"${file.etag}"`);
    }
    if (!file.lfs || options.noCdn === true) {
      await sendFile(request, response, file, fault);
      return;
    }
    const name = (request.headers.host ?? host).replace(/:\d+$/, '');
    const cdnBase = options.cdnAddress ?? `http://${name}:${new URL(cdnOrigin).port}`;
    const location =
      options.xet === undefined ? `${cdnBase}/blobs/${file.etag}` : signedAddress(cdnBase, file, options.xet);
    if (options.xet !== undefined) {
      response.setHeader('x-xet-hash', xetHashOf(file));
      const token = `<${endpoint}/api/models/x/xet-read-token/${sha}>; rel="xet-auth"`;
      response.setHeader(
        'link',
        `${token}, <${cdnBase}/reconstruction/${xetHashOf(file)}>; rel="xet-reconstruction-info"`,
      );
    }
    response.writeHead(302, { location }).end();
  };

  const answerControl = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (request.url === '/_faults') state.faults = JSON.parse(await readText(request)) as Fault[];
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(request.url === '/_faults' ? state.faults : state.requests));
  };

  const route = async (origin: 'hub' | 'cdn', request: IncomingMessage, response: ServerResponse, fault: Fault) => {
    const url = new URL(request.url ?? '/', 'http://hub');
    if (origin === 'cdn') {
      const file = blobs.get(path.basename(url.pathname));
      if (file === undefined) throw new Refusal(403);
      if (options.xet !== undefined) checkSignature(request, url);
      await sendFile(request, response, options.xet === undefined ? file : { ...file, etag: xetHashOf(file) }, fault);
      return;
    }
    const api = API.exec(url.pathname);
    const resolve = RESOLVE.exec(url.pathname);
    if (api !== null) answerApi(response, url, api);
    else if (resolve !== null) await answerResolve(request, response, resolve, fault);
    else throw new Refusal(404);
  };

  const answer = async (origin: 'hub' | 'cdn', request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (request.url === '/_faults' || request.url === '/_requests') {
      await answerControl(request, response);
      return;
    }
    state.requests.push({
      origin,
      method: request.method ?? '',
      path: (request.url ?? '').replace(/\?.*/, ''),
      range: request.headers.range,
      authorization: request.headers.authorization,
    });
    const fault = nextFault(origin, request);
    if (fault.mostAtOnce !== undefined) {
      const others = underWay.get(fault) ?? 0;
      if (others >= fault.mostAtOnce) {
        response.writeHead(503).end();
        return;
      }
      underWay.set(fault, others + 1);
      response.once('close', () => underWay.set(fault, (underWay.get(fault) ?? 1) - 1));
    }
    if (fault.slowStartMs !== undefined) await Promise.race([sleep(fault.slowStartMs), never(response)]);
    if (fault.status !== undefined) response.writeHead(fault.status, { ...fault.headers }).end();
    else await route(origin, request, response, fault);
  };

  const serverFor = (origin: 'hub' | 'cdn'): Server =>
    createServer((request, response) => {
      answer(origin, request, response).catch((error: unknown) => {
        if (error instanceof Refusal) sendRefusal(response, error);
        else response.destroy();
      });
    });
  const hub = serverFor('hub');
  const cdn = serverFor('cdn');
  const endpoint = await listen(hub, host, options.port ?? 0);
  const cdnOrigin = await listen(cdn, host, options.cdnPort ?? 0);

  const state: HubServer = {
    endpoint,
    cdnOrigin,
    faults: [],
    requests: [],
    commit: (modelId, contents, givenSha) => {
      const files = Object.entries(contents).map(([name, content]) => repoFile(name, content));
      const sha = givenSha ?? shaOf(files);
      const repo = repos.get(modelId) ?? { commits: new Map(), refs: new Map<string, string>(), gated: false };
      repo.commits.set(sha, new Map(files.map((file) => [file.name, file])));
      repo.refs.set('main', sha);
      repos.set(modelId, repo);
      for (const file of files) blobs.set(file.etag, file);
      return sha;
    },
    gate: (modelId) => {
      const repo = repos.get(modelId);
      if (repo !== undefined) repo.gated = true;
    },
    close: async () => {
      await Promise.all([shut(hub), shut(cdn)]);
    },
  };
  return state;
};

/** Every file under a folder, by its path there, symlinks resolved. */
export const filesUnder = (folder: string): Record<string, Content> =>
  Object.fromEntries(
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map((name) => [name.replaceAll(path.sep, '/'), realpathSync(path.join(folder, name))] as const)
      .filter(([, file]) => statSync(file).isFile())
      .map(([name, file]) => [name, { path: file }]),
  );

/** The least that a model has, with these weights. */
export const leastModel = (weights: Buffer): Record<string, Content> => ({
  'config.json': Buffer.from('{"architectures":["BertModel"]}'),
  'tokenizer.json': Buffer.from('{}'),
  'modules.json': Buffer.from('[]'),
  'model.safetensors': weights,
});

/** Publishes every snapshot of a store with the Hugging Face layout. */
export const commitStore = (server: HubServer, store: string): void => {
  for (const name of readdirSync(store).filter((entry) => entry.startsWith('models--'))) {
    const snapshots = path.join(store, name, 'snapshots');
    if (!existsSync(snapshots)) continue;
    const modelId = name.slice('models--'.length).replaceAll('--', '/');
    for (const sha of readdirSync(snapshots)) server.commit(modelId, filesUnder(path.join(snapshots, sha)), sha);
  }
};

const commitFolder = (server: HubServer, folder: string): void => {
  for (const org of readdirSync(folder)) {
    for (const name of readdirSync(path.join(folder, org))) {
      server.commit(`${org}/${name}`, filesUnder(path.join(folder, org, name)));
    }
  }
};

if (import.meta.main) {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      store: text,
      dir: text,
      host: text,
      port: text,
      'cdn-port': text,
      token: text,
      gated: { type: 'string', multiple: true },
      'no-cdn': { type: 'boolean' },
    },
  });
  const server = await startHubServer({
    host: values.host ?? '127.0.0.1',
    port: Number(values.port ?? 0),
    cdnPort: Number(values['cdn-port'] ?? 0),
    noCdn: values['no-cdn'] ?? false,
    ...(values.token === undefined ? {} : { token: values.token }),
  });
  if (values.store !== undefined) commitStore(server, values.store);
  if (values.dir !== undefined) commitFolder(server, values.dir);
  for (const modelId of values.gated ?? []) server.gate(modelId);
  console.log(JSON.stringify({ endpoint: server.endpoint, cdn: server.cdnOrigin }));
}

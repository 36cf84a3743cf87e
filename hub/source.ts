// Where a snapshot can be fetched from, and the hub as such a source: which files a commit has, which of them are needed.
import { readFile } from 'node:fs/promises';
import type { HubClient, RetryPolicy } from './client.ts';
import { createDownloader } from './download.ts';
import type { Download } from './download.ts';
import { ModelError, parseJson } from './files.ts';
import type { ChooseWeights, RepositoryFile } from './files.ts';
import { describeFile, listRevision } from './listing.ts';
import type { HubRepository, Listing } from './listing.ts';
import { readOnnxFacts } from './onnx-data.ts';
import type { ModelRevision } from './paths.ts';
import type { PartialPaths } from './partial.ts';
import { planSnapshot } from './plan.ts';
import type { RepositoryView } from './plan.ts';

export interface WeightSource {
  /** The commit that the revision names there; undefined where this source does not have it. Rejects with a ModelError. */
  open(wanted: ModelRevision): Promise<RemoteSnapshot | undefined>;
}

export interface RemoteSnapshot {
  readonly sha: string;
  /** For people: where it comes from. */
  readonly origin: string;
  /** Which files the snapshot shall have. */
  listFiles(staging: Staging): Promise<readonly RepositoryFile[]>;
  /** Leaves the whole, proven file at `partial.file`, going on with what lies there. */
  download(file: RepositoryFile, partial: PartialPaths, watch: DownloadWatch): Promise<void>;
}

/** What the store lends a source that must look before it knows its files. */
export interface Staging {
  readonly signal: AbortSignal;
  /** Has one file in the store at once and gives its path: for what decides about the rest. */
  readonly have: (file: RepositoryFile) => Promise<string>;
  /** An empty folder on the store's volume that goes away by itself. */
  readonly scratch: () => Promise<string>;
}

export interface DownloadWatch extends Pick<Download, 'onBytes'> {
  readonly signal: AbortSignal;
}

// The hub as a source.

/** The commit of a listing. Weights are chosen once its config.json is there, before anything big is fetched. */
const listedSnapshot = (repository: HubRepository, listing: Listing, chooseWeights: ChooseWeights): RemoteSnapshot => {
  const { modelId, hub, retry } = repository;
  const bringFile = createDownloader();
  const commit = (signal: AbortSignal): HubRepository => ({
    ...repository,
    revision: listing.sha,
    retry: { ...retry, signal },
  });
  const describe = async (name: string, signal: AbortSignal): Promise<RepositoryFile> =>
    listing.known.get(name) ?? (await describeFile(commit(signal), name));
  const view = ({ signal, have }: Staging): RepositoryView => {
    const bring = async (name: string): Promise<string> => await have(await describe(name, signal));
    return {
      modelId,
      names: listing.names,
      json: async (name) =>
        listing.names.includes(name) ? parseJson(await readFile(await bring(name), 'utf8')) : undefined,
      // A graph with tensors beside it is small itself.
      onnxData: async (name) => (await readOnnxFacts(await bring(name), name)).dataFiles,
    };
  };
  return {
    sha: listing.sha,
    origin: `${hub.endpoint}/${modelId} at ${listing.sha}`,
    listFiles: async (staging) => {
      const { plan, missing } = await planSnapshot(view(staging), chooseWeights);
      if (plan === undefined) {
        throw new ModelError('UnsupportedFiles', `${modelId} has no ${missing.join(' and no ')}: it is no whole model`);
      }
      const { describing, indexes, weights, onnxModel, onnxData } = plan;
      const graph = onnxModel === undefined ? [] : [onnxModel, ...onnxData.values()];
      const files: RepositoryFile[] = [];
      for (const name of [...describing, ...indexes, ...graph, ...weights]) {
        files.push(await describe(name, staging.signal));
      }
      return files;
    },
    download: async (file, partial, { signal, onBytes }) =>
      await bringFile({ repository: commit(signal), file, partial, onBytes }),
  };
};

export interface HubPatience {
  /** For the listing: little where something else stands ready. */
  readonly listing: RetryPolicy;
  readonly files: RetryPolicy;
}

export const hubSource = (hub: HubClient, patience: HubPatience, chooseWeights: ChooseWeights) =>
  ({
    open: async (wanted) => {
      const listing = await listRevision({ ...wanted, hub, retry: patience.listing });
      return listedSnapshot({ ...wanted, hub, retry: patience.files }, listing, chooseWeights);
    },
  }) satisfies WeightSource;

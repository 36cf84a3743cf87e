// Where models come from, as every Hugging Face tool reads it from the environment: the store on disk and the hub.
import { homedir } from 'node:os';
import type { HubOptions } from '../../hub/fetch-types.ts';
import { locateStore } from '../../hub/store-paths.ts';

type Env = Readonly<Record<string, string | undefined>>;

export const storeFolder = (given: string | undefined, env: Env): string =>
  given ??
  locateStore({
    kubembedStore: env['KUBEMBED_STORE'],
    hfHubCache: env['HF_HUB_CACHE'],
    hfHome: env['HF_HOME'],
    xdgCacheHome: env['XDG_CACHE_HOME'],
    home: env['HOME'] ?? homedir(),
  });

export const hubOptions = (env: Env): HubOptions => ({
  ...(env['HF_ENDPOINT'] ? { endpoint: env['HF_ENDPOINT'] } : {}),
  ...(env['HF_TOKEN'] ? { token: env['HF_TOKEN'] } : {}),
  offline: ['1', 'on', 'yes', 'true'].includes((env['HF_HUB_OFFLINE'] ?? '').toLowerCase()),
});

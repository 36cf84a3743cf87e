// Where models come from, as every Hugging Face tool reads it from the environment: the store on disk and the hub.
import { homedir } from 'node:os';
import type { Environment } from '../../common/util/env.ts';
import { readModelSettings } from '../../hub/paths.ts';
import type { HubSettings } from '../../hub/paths.ts';

export const storeFolder = (given: string | undefined, env: Environment): string =>
  given ?? readModelSettings(env, env['HOME'] ?? homedir()).store;

export const hubOptions = (env: Environment): HubSettings => readModelSettings(env, homedir()).hub;

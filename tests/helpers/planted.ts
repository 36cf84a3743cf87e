// Secrets planted on purpose, and the search for them in every place where somebody might read them.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KubeClient } from '../../kube/client.ts';
import {
  CONFIG_MAPS,
  DEPLOYMENTS,
  ENDPOINT_SLICES,
  EVENTS,
  PERSISTENT_VOLUME_CLAIMS,
  PODS,
} from '../../kube/resources.ts';
import { SECRETS, SERVICE_ACCOUNTS, SERVICES } from '../../kube/resources.ts';
import { EMBEDDING_MODELS } from '../../api/types.ts';

/** A text that people or programs can read, and what it is called in a finding. */
export interface Place {
  readonly name: string;
  readonly text: string;
}

/** By name; values long and random enough that nothing else looks like them. */
export type Planted = Readonly<Record<string, string>>;

/** As it is, and as it looks in headers, Secrets, URLs and dumps. */
const FORMS: Readonly<Record<string, (value: string) => string>> = {
  plain: (value) => value,
  base64: (value) => Buffer.from(value).toString('base64').replace(/=+$/, '').slice(0, -1),
  hex: (value) => Buffer.from(value).toString('hex'),
  'URL-encoded': encodeURIComponent,
  escaped: (value) => JSON.stringify(value).slice(1, -1),
};

/** `token (base64) in log of router`, once for each place. */
export const findPlanted = (planted: Planted, places: readonly Place[]): readonly string[] =>
  places.flatMap(({ name: place, text }) =>
    Object.entries(planted).flatMap(([name, value]) => {
      const form = Object.entries(FORMS).find(([, write]) => text.includes(write(value)))?.[0];
      return form === undefined ? [] : [`${name} (${form}) in ${place}`];
    }),
  );

const KINDS = [
  EMBEDDING_MODELS,
  PODS,
  DEPLOYMENTS,
  SERVICES,
  CONFIG_MAPS,
  ENDPOINT_SLICES,
  EVENTS,
  PERSISTENT_VOLUME_CLAIMS,
  SERVICE_ACCOUNTS,
] as const;

/** Every object of an API server or of local mode's store, whole; of Secrets all but their data, where secrets belong. */
export async function objectPlaces(client: KubeClient, namespace: string): Promise<Place[]> {
  const places: Place[] = [];
  for (const kind of KINDS) {
    const { items } = await client.list(kind as typeof PODS, { namespace });
    for (const object of items)
      places.push({ name: `${kind.kind} ${object.metadata.name}`, text: JSON.stringify(object) });
  }
  const { items } = await client.list(SECRETS, { namespace });
  for (const { metadata, type } of items)
    places.push({ name: `Secret ${metadata.name}`, text: JSON.stringify({ metadata, type }) });
  return places;
}

/** What every user of the machine, or whoever is in the container, reads of a process. One that fetches holds its token. */
export async function processPlaces(pids: readonly number[]): Promise<Place[]> {
  // Gone by now is as good as empty.
  const read = async (pid: number, file: string): Promise<Place> => {
    const text = await readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
    return { name: `${file} of process ${pid}`, text: text.replaceAll('\0', '\n') };
  };
  const places = pids.map(async (pid) => {
    const command = await read(pid, 'cmdline');
    return /^fetch$/m.test(command.text) ? [command] : [command, await read(pid, 'environ')];
  });
  return (await Promise.all(places)).flat();
}

/** Every file below a folder. */
export async function filePlaces(folder: string): Promise<Place[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return await Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map(async (path) => ({ name: path.slice(folder.length + 1), text: await readFile(path, 'latin1') })),
  );
}

/** Pages over HTTP, bodies and headers, errors as well. */
export async function pagePlaces(urls: readonly string[]): Promise<Place[]> {
  return await Promise.all(
    urls.map(async (url) => {
      const response = await fetch(url);
      return { name: url, text: `${JSON.stringify([...response.headers])}\n${await response.text()}` };
    }),
  );
}

/** A real cluster, as `kubectl` tells of it: objects, descriptions, events and the logs of all containers, previous ones too. */
export async function clusterPlaces(
  kubectl: (args: readonly string[]) => Promise<string>,
  namespaces: readonly string[],
): Promise<Place[]> {
  const kinds =
    'embeddingmodels,deployments,replicasets,pods,services,configmaps,endpointslices,events,serviceaccounts,pvc';
  const places: Place[] = [];
  const ask = async (name: string, args: readonly string[]): Promise<string> => {
    // A container that has not run has no log to be looked through.
    const text = await kubectl(args).catch((error: unknown) => String(error));
    places.push({ name, text });
    return text;
  };
  for (const namespace of namespaces) {
    await ask(`objects of ${namespace}`, ['get', kinds, '-n', namespace, '-o', 'yaml', '--show-managed-fields']);
    await ask(`descriptions of ${namespace}`, ['describe', `${kinds},secrets`, '-n', namespace]);
    const pods = await ask(`names in ${namespace}`, ['get', 'pods', '-n', namespace, '-o', 'name']);
    for (const pod of pods.split('\n').filter((name) => name.startsWith('pod/'))) {
      const logs = ['logs', '-n', namespace, pod, '--all-containers', '--timestamps'];
      await ask(`log of ${pod}`, logs);
      await ask(`earlier log of ${pod}`, [...logs, '--previous']);
    }
  }
  return places;
}

// The hub-shaped server for a cluster's pods: it listens where they can reach this machine.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { startHubServer } from './hub-server.ts';
import type { Content, HubServer, HubServerOptions } from './hub-server.ts';

export async function serveHub(host: string, options: HubServerOptions = {}): Promise<HubServer> {
  return await startHubServer({ ...options, host });
}

/** Files of a model's folder, as a commit takes them. */
export async function readRepository(directory: string): Promise<Record<string, Content>> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(files.map((path) => [path.slice(directory.length + 1), { path }]));
}

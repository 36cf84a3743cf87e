// The measured processes: started, asked for their CPU time and memory, and never left behind.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../runtime/child.ts';

export interface Target {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
}

const children: ChildProcess[] = [];

/** In nanoseconds where the clock tick would be too coarse: user and system time of all its threads. */
export function cpuSeconds({ pid }: Target): number {
  const nanoseconds = readdirSync(`/proc/${pid}/task`).map((thread) => {
    try {
      return Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
    } catch {
      return 0;
    }
  });
  return nanoseconds.reduce((sum, one) => sum + one, 0) / 1e9;
}

export const rssMb = ({ pid }: Target): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;

/** One of the roles of targets.ts. */
export async function start(name: string, args: readonly string[]): Promise<Target> {
  const script = new URL('./targets.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const ended = once(child, 'exit').then(() => {
    throw new Error(`${name} ended before it listened`);
  });
  const [line] = (await Promise.race([once(child.stdout, 'data'), ended])) as [Buffer];
  return { name, port: Number(line.toString().trim()), pid: child.pid! };
}

export function stopAll(): void {
  for (const child of children.splice(0)) child.kill();
}

/** Its version, which it tells on stderr; nothing when it is not installed. */
export function nginxVersion(binary: string): string | undefined {
  const { stderr, error } = spawnSync(binary, ['-v'], { encoding: 'utf8' });
  return error === undefined ? stderr.trim().replace('nginx version: ', '') : undefined;
}

const nginxConf = (port: number, upstream: number, dir: string): string => `
daemon off; worker_processes 1; pid ${dir}/pid; error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log /dev/null; client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; client_max_body_size 64m;
  client_body_buffer_size 2m; proxy_buffers 64 64k; proxy_max_temp_file_size 0;
  fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s; keepalive_requests 1000000;
  upstream stub { server 127.0.0.1:${upstream}; keepalive 256; keepalive_requests 1000000; }
  server { listen 127.0.0.1:${port}; location / { proxy_pass http://stub; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}`;

export async function startNginx(binary: string, upstream: number, dir: string): Promise<Target> {
  const port = await freePort();
  const file = join(dir, `nginx-${port}.conf`);
  writeFileSync(file, nginxConf(port, upstream, dir));
  const child = spawn(binary, ['-c', file, '-e', 'stderr'], { stdio: 'inherit' });
  children.push(child);
  for (let tries = 0; tries < 100; tries += 1) {
    const answers = await fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    );
    if (answers) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const [worker] = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ').map(Number);
  return { name: 'nginx', port, pid: worker! };
}

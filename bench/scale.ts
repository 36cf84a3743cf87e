// `npm run bench -- scale`: builds, and runs the scale bench in a network of its own, in which all endpoints' addresses are local.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { bundle } from '../tools/build/bundle.ts';
import { benchScale } from './scale/main.ts';
import { readScaleOptions } from './scale/options.ts';

const INSIDE = 'KUBEMBED_SCALE_INSIDE';
const ROOT = fileURLToPath(new URL('../', import.meta.url));
/** Endpoints must not have loopback addresses, and nothing may leave the machine. */
const NETWORK = 'ip link set lo up && ip route add local 10.245.0.0/16 dev lo && exec "$@"';

const args = process.argv.slice(2);
const options = readScaleOptions(args);
if (process.env[INSIDE] === undefined) {
  await bundle(ROOT, ['operator', 'router']);
  const inside = [
    '--net',
    '--map-root-user',
    'sh',
    '-c',
    NETWORK,
    'sh',
    process.execPath,
    fileURLToPath(import.meta.url),
  ];
  const env = { ...process.env, [INSIDE]: '1' };
  process.exitCode = spawnSync('unshare', [...inside, ...args], { stdio: 'inherit', env }).status ?? 1;
} else await benchScale(options);

// Installs what is missing, once, and says what, how much and for how long; instant when all is there. Plain JavaScript: it runs on any Node ≥ 20.
//   node cli/setup.mjs          what development needs too: tests, lint, documentation
//   node cli/setup.mjs serve    only what serving needs
//   node cli/setup.mjs node     the path of the pinned Node, installed whatever Node runs this
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const STAMP = join(ROOT, 'node_modules', '.kubembed-installed');
const NEWEST_MAJOR_NEEDED = 24;

/** Megabytes of the downloads, and on disk; a test holds them to what an installation takes. */
export const SIZES = {
  serve: { what: 'what serving needs', download: 176, disk: 557 },
  development: { what: 'what serving and development need', download: 248, disk: 816 },
  node: { what: `Node ${NEWEST_MAJOR_NEEDED}, as this one is older`, download: 52, disk: 190 },
};

/** What to do where there can be no native inference engine; undefined where there can. */
export function obstacle({ platform, arch, glibc }) {
  const container = 'run it in a container instead: docker compose up (compose.yaml)';
  if (platform === 'win32') return 'Windows is not supported; use WSL 2';
  if (platform === 'darwin' && arch !== 'arm64') return `ONNX Runtime has no binaries for Intel Macs; ${container}`;
  if (platform === 'darwin') return undefined;
  if (platform !== 'linux' || !['x64', 'arm64'].includes(arch))
    return `ONNX Runtime has no binaries for ${platform} on ${arch}`;
  if (glibc === undefined) return `ONNX Runtime needs glibc, and this system has musl, as Alpine does; ${container}`;
  const [major, minor] = glibc.split('.').map(Number);
  if (major < 2 || (major === 2 && minor < 28))
    return `ONNX Runtime needs glibc 2.28 (Debian 10, Ubuntu 20.04, RHEL 8), and this system has ${glibc}; ${container}`;
  return undefined;
}

function thisMachine() {
  const { platform, arch } = process;
  const glibc = platform === 'linux' ? process.report.getReport().header.glibcVersionRuntime : undefined;
  return { platform, arch, glibc };
}

/** Packages that npm must have brought, by the lock file: those for other platforms aside. */
export function missingPackages(lock, root, withDevelopment) {
  return Object.entries(lock.packages)
    .filter(
      ([path, { dev, optional, devOptional }]) => path !== '' && !optional && !devOptional && (withDevelopment || !dev),
    )
    .filter(([path, { version }]) => {
      const manifest = join(root, path, 'package.json');
      return !existsSync(manifest) || JSON.parse(readFileSync(manifest, 'utf8')).version !== version;
    })
    .map(([path]) => path);
}

/** npm's own cache, or one in the clone where the home cannot be written to. */
function cacheFolder() {
  try {
    const usual = process.env.npm_config_cache ?? join(homedir(), '.npm');
    mkdirSync(usual, { recursive: true });
    accessSync(usual, constants.W_OK);
    return usual;
  } catch {
    return join(ROOT, '.kubembed', 'npm');
  }
}

const CERTIFICATES = ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'];
const PROXIES = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy'];
const NO_PROXY = ['NO_PROXY', 'no_proxy'];
const SELF = ['localhost', '127.0.0.1', '::1'];

/** npm reads `https-proxy` and `proxy` for every address; what it calls null or false has no scheme. */
function proxiesOfNpm({ npm_config_https_proxy: secure, npm_config_proxy: plain }) {
  const [both, http] = [secure || plain, plain].map((address) => (address?.includes('://') ? address : undefined));
  return { ...(both && { HTTPS_PROXY: both }), ...(http && { HTTP_PROXY: http }) };
}

/**
 * The way out, in words that npm, Node and the fetch of weights all know: from variables that were made for Python's tools or for curl, else
 * from npm's own settings, which npm hands to what it starts. This machine itself is never asked by a proxy.
 */
export function network(env, exists = existsSync) {
  const set = (names) => names.filter((name) => env[name]);
  const [given] = set(CERTIFICATES);
  const { npm_config_cafile: cafile, npm_config_noproxy: noProxy } = env;
  const certificates = given === undefined ? cafile && exists(cafile) && cafile : env[given];
  const named = set(PROXIES).map((name) => [name, env[name].includes('://') ? env[name] : `http://${env[name]}`]);
  const proxies = named.length > 0 ? Object.fromEntries(named) : proxiesOfNpm(env);
  if (Object.keys(proxies).length === 0) return certificates ? { NODE_EXTRA_CA_CERTS: certificates } : {};
  const direct = set(NO_PROXY).length > 0 ? set(NO_PROXY).map((name) => [name, env[name]]) : [['NO_PROXY', noProxy]];
  const withSelf = (list) => (list === '*' ? list : [...(list ? [list] : []), ...SELF].join(','));
  return {
    ...(certificates && { NODE_EXTRA_CA_CERTS: certificates }),
    ...proxies,
    ...Object.fromEntries(direct.map(([name, list]) => [name, withSelf(list)])),
  };
}

const STORE_VARIABLES = ['KUBEMBED_STORE', 'HF_HUB_CACHE', 'HF_HOME', 'XDG_CACHE_HOME'];

/** Where the home can hold no models, they go into the clone. */
function storeElsewhere() {
  if (STORE_VARIABLES.some((name) => process.env[name])) return {};
  try {
    mkdirSync(join(homedir(), '.cache', 'huggingface', 'hub'), { recursive: true });
    return {};
  } catch {
    return { HF_HOME: join(ROOT, '.kubembed', 'huggingface') };
  }
}

/** The environment to run in. */
export const environment = () => ({ ...process.env, ...network(process.env), ...storeElsewhere() });

async function megabytesIn(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  const sizes = await Promise.all(
    files.map((file) =>
      stat(file).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0) / 1e6;
}

/** Draws how far an installation is, on a terminal. @returns the end of it */
function showProgress(folder, disk) {
  const started = Date.now();
  const seconds = () => Math.round((Date.now() - started) / 1000);
  let running = process.stderr.isTTY === true;
  const draw = async () => {
    const done = Math.min(disk, Math.round(await megabytesIn(folder)));
    if (!running) return;
    process.stderr.write(`\r\u001B[K  ${done} of ${disk} MB unpacked, ${seconds()} s`);
    setTimeout(draw, 500).unref();
  };
  if (running) void draw();
  return () => {
    if (running) process.stderr.write('\r\u001B[K');
    running = false;
    return seconds();
  };
}

/** npm, whatever its settings leave out. No package's script is needed: binaries come in packages. */
async function install(folder, { what, download, disk }, more) {
  const time = download < 60 ? 'half a minute or so' : 'a minute or two';
  console.error(`kubembed: installing ${what}: ${download} MB to download, once; ${time} …`);
  const options = [
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--no-global',
    '--no-dry-run',
    '--no-update-notifier',
    // Packages want the Node that is brought, not the one that runs npm; and are looked for where the lock file has them.
    '--no-engine-strict',
    '--install-strategy=hoisted',
    '--loglevel=error',
  ];
  const included = ['--include=prod', '--include=optional', '--include=peer', `--cache=${cacheFolder()}`];
  const done = showProgress(join(folder, 'node_modules'), disk);
  const child = spawn('npm', ['ci', ...options, ...included, ...more], {
    cwd: folder,
    env: { ...process.env, ...network(process.env) },
    stdio: ['ignore', 2, 2],
  });
  const end = (signal) => {
    child.kill(signal);
    process.exit(130);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, end);
  const status = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(signal, end);
  const seconds = done();
  if (status !== 0)
    throw new Error(
      `npm could not install ${what} (exit code ${String(status)}). Its own words are above; behind a proxy it wants HTTPS_PROXY, and NODE_EXTRA_CA_CERTS for its certificates.`,
    );
  console.error(`kubembed: installed in ${seconds} s`);
}

const pinnedNode = () =>
  join(ROOT, 'tools', 'node', 'node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node');

/** Installs the pinned Node where this one is older, or always. @returns the path of the Node to run on */
export async function ensureNode(always = false) {
  if (!always && Number(process.versions.node.split('.')[0]) >= NEWEST_MAJOR_NEEDED) return process.execPath;
  const node = pinnedNode();
  if (existsSync(node)) return node;
  const byHand = `install Node ${NEWEST_MAJOR_NEEDED} or newer from https://nodejs.org`;
  if (process.platform !== 'linux') throw new Error(`Node ${process.versions.node} is too old; ${byHand}`);
  await install(join(ROOT, 'tools', 'node'), SIZES.node, []);
  if (!existsSync(node)) throw new Error(`npm brought no Node for this machine; ${byHand}`);
  return node;
}

/** npm's scripts then find it as `node`. */
function linkNode(node) {
  const link = join(ROOT, 'node_modules', '.bin', 'node');
  rmSync(link, { force: true });
  if (node === process.execPath) return;
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync(node, link);
}

/**
 * Makes `node_modules` match `package-lock.json`, with what development needs if asked for.
 * @returns the path of the Node to run on
 * @throws Error in words for people, when this machine cannot run it or npm fails
 */
export async function ensureInstalled(withDevelopment = false) {
  const text = readFileSync(join(ROOT, 'package-lock.json'), 'utf8');
  const digest = createHash('sha256').update(text).digest('hex');
  const stamps = existsSync(STAMP) ? readFileSync(STAMP, 'utf8').split('\n') : [];
  const done = stamps[0] === digest && (!withDevelopment || stamps[1] === 'development');
  if (!done) {
    const reason = obstacle(thisMachine());
    if (reason !== undefined) throw new Error(reason);
    const size = withDevelopment ? SIZES.development : SIZES.serve;
    await install(ROOT, size, [withDevelopment ? '--include=dev' : '--omit=dev']);
  }
  const node = await ensureNode();
  if (done) return node;
  const missing = missingPackages(JSON.parse(text), ROOT, withDevelopment);
  if (missing.length > 0)
    throw new Error(`npm left out ${missing.slice(0, 5).join(', ')}; does a setting of it (npm config list) say so?`);
  linkNode(node);
  writeFileSync(STAMP, `${digest}\n${withDevelopment ? 'development' : 'serve'}\n`);
  return node;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    if (process.argv[2] === 'node') console.log(await ensureNode(true));
    else await ensureInstalled(process.argv[2] !== 'serve');
  } catch (error) {
    console.error(`kubembed: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}

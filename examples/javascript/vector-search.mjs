// Vector search with sqlite-vec: indexes the passages of a text once, then finds those nearest to a question.
//   vector-search.mjs [--text FILE] [--passages N] [--database FILE] QUESTION
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { parseArgs } from 'node:util';
import { brotliDecompressSync } from 'node:zlib';
import OpenAI from 'openai';
import * as sqliteVec from 'sqlite-vec';

// Moby-Dick, chapters 1–45, and some speeches: one paragraph a line.
const ENGLISH = new URL('../../cli/corpus/english.txt.br', import.meta.url);
const BATCH = 64;
// MiniLM reads 256 tokens, about as many words as 900 letters hold.
const PASSAGE_LETTERS = 900;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    text: { type: 'string' },
    passages: { type: 'string', default: '300' },
    database: { type: 'string' },
  },
});
const question = positionals.join(' ') || 'How did Father Mapple become a preacher?';
const model = process.env.EMBEDDING_MODEL ?? 'sentence-transformers/all-MiniLM-L6-v2';
const client = new OpenAI({
  baseURL: process.env.OPENAI_BASE_URL ?? 'http://127.0.0.1:11445/v1',
  apiKey: process.env.OPENAI_API_KEY ?? 'any',
});

/** One file for each model and text, so that vectors of two models never meet. */
function databaseFile() {
  if (values.database !== undefined) return values.database;
  const folder = join(import.meta.dirname, '..', '.kubembed');
  mkdirSync(folder, { recursive: true });
  const key = JSON.stringify([model, values.text, values.passages]);
  return join(folder, `${createHash('sha256').update(key).digest('hex').slice(0, 12)}.db`);
}
const file = databaseFile();

async function embed(input) {
  const { data } = await client.embeddings.create({ model, input });
  return data.map(({ embedding }) => new Float32Array(embedding));
}

/** Paragraphs, the long ones cut between sentences. */
function passagesOf(text) {
  return text
    .split('\n')
    .filter((paragraph) => paragraph.length > 40)
    .flatMap((paragraph) => {
      const pieces = [''];
      for (const sentence of paragraph.split(/(?<=[.!?;]["'”’]?)\s+/)) {
        if (pieces.at(-1) !== '' && pieces.at(-1).length + sentence.length > PASSAGE_LETTERS) pieces.push('');
        pieces.push(`${pieces.pop()} ${sentence}`.trim());
      }
      return pieces;
    });
}

const readText = () =>
  values.text === undefined
    ? brotliDecompressSync(readFileSync(ENGLISH)).toString('utf8')
    : readFileSync(values.text, 'utf8');

function openDatabase() {
  const database = new DatabaseSync(file, { allowExtension: true });
  sqliteVec.load(database);
  return database;
}

async function index(database) {
  const passages = passagesOf(readText()).slice(0, Number(values.passages));
  let insert;
  for (let start = 0; start < passages.length; start += BATCH) {
    const texts = passages.slice(start, start + BATCH);
    const vectors = await embed(texts);
    if (insert === undefined) {
      database.exec(
        `CREATE VIRTUAL TABLE passages USING vec0(vector float[${vectors[0].length}] distance_metric=cosine, +text TEXT)`,
      );
      insert = database.prepare('INSERT INTO passages(rowid, vector, text) VALUES (?, ?, ?)');
    }
    database.exec('BEGIN');
    for (const [at, text] of texts.entries()) insert.run(BigInt(start + at + 1), vectors[at], text);
    database.exec('COMMIT');
    console.error(`indexed ${Math.min(start + BATCH, passages.length)} of ${passages.length} passages`);
  }
  // Set last: an index that was broken off is made again.
  database.exec('PRAGMA user_version = 1');
}

const isIndexed = (database) => database.prepare('PRAGMA user_version').get().user_version === 1;

let database = openDatabase();
if (!isIndexed(database)) {
  database.close();
  rmSync(file);
  database = openDatabase();
  await index(database);
}
const [query] = await embed([question]);
const found = database
  .prepare('SELECT rowid, distance, text FROM passages WHERE vector MATCH ? AND k = 3 ORDER BY distance')
  .all(query);
for (const { rowid, distance, text } of found) {
  console.log(`${(1 - distance).toFixed(3)}  passage ${rowid}: ${text.replace(/(.{160}).+/s, '$1 …')}`);
}

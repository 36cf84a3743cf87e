// The official OpenAI client for Node: only the base URL changes.
import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: process.env.OPENAI_BASE_URL ?? 'http://127.0.0.1:11445/v1',
  apiKey: process.env.OPENAI_API_KEY ?? 'any',
});
const model = process.env.EMBEDDING_MODEL ?? 'sentence-transformers/all-MiniLM-L6-v2';
const texts = ['A cat naps in the sun.', 'The invoice is due on Friday.', 'Rain is expected tomorrow.'];
const question = 'When do I have to pay?';

const { data } = await client.embeddings.create({ model, input: [...texts, question] });
const vectors = data.map(({ embedding }) => embedding);
const query = vectors.pop();

// The vectors have length one.
const cosine = (a, b) => a.reduce((sum, value, at) => sum + value * b[at], 0);
const found = texts.map((text, at) => ({ text, score: cosine(query, vectors[at]) }));
for (const { text, score } of found.sort((a, b) => b.score - a.score)) console.log(`${score.toFixed(3)}  ${text}`);

// The Vercel AI SDK: the OpenAI-compatible provider, embedMany and cosineSimilarity.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { cosineSimilarity, embed, embedMany } from 'ai';

const kubembed = createOpenAICompatible({
  name: 'kubembed',
  baseURL: process.env.OPENAI_BASE_URL ?? 'http://127.0.0.1:11445/v1',
  apiKey: process.env.OPENAI_API_KEY ?? 'any',
});
const model = kubembed.embeddingModel(process.env.EMBEDDING_MODEL ?? 'sentence-transformers/all-MiniLM-L6-v2');
const texts = ['A cat naps in the sun.', 'The invoice is due on Friday.', 'Rain is expected tomorrow.'];

const [passages, query] = await Promise.all([
  embedMany({ model, values: texts }),
  embed({ model, value: 'When do I have to pay?' }),
]);
const found = texts.map((text, at) => ({ text, score: cosineSimilarity(query.embedding, passages.embeddings[at]) }));
for (const { text, score } of found.sort((a, b) => b.score - a.score)) console.log(`${score.toFixed(3)}  ${text}`);

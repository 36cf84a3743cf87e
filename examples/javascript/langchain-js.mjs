// LangChain for JavaScript: OpenAIEmbeddings, and its cosine over the vectors.
import { OpenAIEmbeddings } from '@langchain/openai';
import { cosineSimilarity } from '@langchain/core/utils/math';

const embeddings = new OpenAIEmbeddings({
  model: process.env.EMBEDDING_MODEL ?? 'sentence-transformers/all-MiniLM-L6-v2',
  apiKey: process.env.OPENAI_API_KEY ?? 'any',
  configuration: { baseURL: process.env.OPENAI_BASE_URL ?? 'http://127.0.0.1:11445/v1' },
});
const texts = ['A cat naps in the sun.', 'The invoice is due on Friday.', 'Rain is expected tomorrow.'];

const [passages, query] = await Promise.all([
  embeddings.embedDocuments(texts),
  embeddings.embedQuery('When do I have to pay?'),
]);
const [scores] = cosineSimilarity([query], passages);
const found = texts.map((text, at) => ({ text, score: scores[at] }));
for (const { text, score } of found.sort((a, b) => b.score - a.score)) console.log(`${score.toFixed(3)}  ${text}`);

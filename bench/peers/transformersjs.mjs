// transformers.js behind Express: one pipeline, padded per request, answered by JSON.stringify.
import { env, pipeline } from '@huggingface/transformers';
import express from 'express';

const [folder = '', port = '0'] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = '';
const extract = await pipeline('feature-extraction', folder, {
  dtype: 'fp32',
  device: 'cpu',
  local_files_only: true,
  subfolder: '',
});

const app = express();
app.use(express.json({ limit: '64mb' }));
app.post('/v1/embeddings', async (request, response) => {
  const { model, input } = request.body;
  const vectors = await extract(input, { pooling: 'mean', normalize: true });
  response.json({
    object: 'list',
    model,
    data: vectors.tolist().map((embedding, index) => ({ object: 'embedding', index, embedding })),
    usage: { prompt_tokens: 0, total_tokens: 0 },
  });
});
const server = app.listen(Number(port), '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`);
});

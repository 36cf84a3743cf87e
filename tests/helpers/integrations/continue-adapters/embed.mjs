// The OpenAI adapter of Continue: as it asks by itself (base64), and for numbers.
import { constructLlmApi } from '@continuedev/openai-adapters';

const [apiBase, model, ...input] = process.argv.slice(2);
const api = constructLlmApi({ provider: 'openai', apiKey: 'sk-any', apiBase: `${apiBase}/` });
const vectors = async (more) =>
  (await api.embed({ model, input, ...more })).data.map(({ embedding }) => [...embedding]);
process.stdout.write(JSON.stringify([await vectors({}), await vectors({ encoding_format: 'float' })]));

// The node "Embeddings OpenAI" of n8n as it is published, with the LangChain that it pins, as it comes and in batches of two. n8n around it, a thousand
// packages, is replaced: settings, credentials and log are given by hand. Its option base64 hands the text on undecoded, whoever answers.
import Module, { createRequire } from 'node:module';
import { join } from 'node:path';

const [base, model, ...texts] = process.argv.slice(2);
const NODE = join(import.meta.dirname, 'package/dist/nodes/embeddings/EmbeddingsOpenAI/EmbeddingsOpenAi.node.js');
const AROUND = {
  '@n8n/config': { AiConfig: class {} },
  '@n8n/di': { Container: { get: () => ({ openAiDefaultHeaders: {} }) } },
  'n8n-workflow': { NodeConnectionTypes: {} },
  '@n8n/ai-utilities': {
    getConnectionHintNoticeField: () => ({}),
    getProxyAgent: () => undefined,
    logWrapper: (it) => it,
  },
  '../../../utils/helpers': { mergeCustomHeaders: (_credentials, headers) => headers },
  '../../vendors/OpenAi/helpers/credentials': { assertOpenAiCredentialAllowsUrl: () => undefined },
};
const own = createRequire(import.meta.url);
const load = Module._load;
Module._load = (request, parent, isMain) =>
  AROUND[request] ?? (parent?.filename === NODE ? own(request) : load(request, parent, isMain));

async function embed(options) {
  const { EmbeddingsOpenAi } = own(NODE);
  const { response } = await new EmbeddingsOpenAi().supplyData.call(
    {
      logger: { debug: () => undefined },
      getNode: () => ({}),
      getCredentials: () => Promise.resolve({ apiKey: 'sk-any', url: base }),
      getNodeParameter: (name, _item, otherwise) => ({ options, model })[name] ?? otherwise,
      helpers: { getSecureEgressFilter: () => undefined },
    },
    0,
  );
  return await response.embedDocuments(texts);
}

const ways = [await embed({ timeout: -1 }), await embed({ batchSize: 2, encodingFormat: 'float' })];
process.stdout.write(JSON.stringify(ways));

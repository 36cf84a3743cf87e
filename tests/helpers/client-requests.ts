// What applications and frameworks put on the wire, learned from their sources: the request, and the fields of the answer that each reads.

export interface ClientRequest {
  readonly client: string;
  /** Where the request is made: repository, file, commit. */
  readonly source: string;
  readonly method: 'GET' | 'POST';
  /** Below the base URL, which ends in `/v1`. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Readonly<Record<string, unknown>>;
  /** Paths into the answer, as in `data.0.embedding`. */
  readonly reads: readonly string[];
}

const KEY = 'sk-any';
const bearer = { authorization: `Bearer ${KEY}` };
const json = { 'content-type': 'application/json' };
/** What the `openai` package for Node adds of itself. */
const openaiNode = {
  accept: 'application/json',
  'user-agent': 'OpenAI/JS 5.23.2',
  'x-stainless-lang': 'js',
  'x-stainless-package-version': '5.23.2',
  'x-stainless-os': 'Linux',
  'x-stainless-arch': 'x64',
  'x-stainless-runtime': 'node',
  'x-stainless-runtime-version': 'v22.14.0',
  'x-stainless-retry-count': '0',
  'x-stainless-timeout': '600',
};
/** What the JDK's HTTP client asks of every server that it has not spoken with: HTTP/2, if it likes. */
const jdk = {
  connection: 'Upgrade, HTTP2-Settings',
  upgrade: 'h2c',
  'http2-settings': 'AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA',
};
const EACH = ['data.0.embedding', 'data.1.embedding'];

const OPEN_WEBUI = 'open-webui/open-webui backend/open_webui/retrieval/utils.py at 0013f5c';
const DIFY_SDK = 'dify_plugin 0.7.4 (PyPI) interfaces/model/openai_compatible/text_embedding.py';
const DIFY_PLUGIN =
  'langgenius/dify-official-plugins models/openai_api_compatible/models/text_embedding/text_embedding.py at 080687b';
const N8N =
  'n8n-io/n8n packages/@n8n/nodes-langchain/nodes/embeddings/EmbeddingsOpenAI/EmbeddingsOpenAi.node.ts at 0013714';
const CONTINUE = 'continuedev/continue core/llm/llms/OpenAI.ts at 0069b94';
const SPRING_AI =
  'spring-projects/spring-ai models/spring-ai-openai/src/main/java/org/springframework/ai/openai/api/OpenAiApi.java at 01f1615';
const LANGCHAIN4J =
  'langchain4j/langchain4j langchain4j-open-ai/src/main/java/dev/langchain4j/model/openai/OpenAiEmbeddingModel.java at 057c5b9';
const SEMANTIC_KERNEL = 'microsoft/semantic-kernel';
const CONTINUE_ADAPTER = 'continuedev/continue packages/openai-adapters/src/apis/OpenAI.ts at 023111d';

export const clientRequests = (model: string): readonly ClientRequest[] => [
  {
    client: 'Open WebUI indexes a document',
    source: OPEN_WEBUI,
    method: 'POST',
    path: '/embeddings',
    headers: { ...json, ...bearer, accept: '*/*', 'user-agent': 'Python/3.11 aiohttp/3.12.15' },
    body: { input: ['a first chunk', 'a second chunk'], model },
    reads: EACH,
  },
  {
    client: 'Open WebUI with a prefix field and user headers',
    source: OPEN_WEBUI,
    method: 'POST',
    path: '/embeddings',
    headers: {
      ...json,
      ...bearer,
      'x-openwebui-user-name': 'Zo%C3%AB Example',
      'x-openwebui-user-id': '2f0d5f6e-0001-4000-8000-000000000000',
      'x-openwebui-user-email': 'zoe@example.org',
      'x-openwebui-user-role': 'user',
    },
    body: { input: ['what is asked', 'once more'], model, prefix: 'search_query: ' },
    reads: EACH,
  },
  {
    client: 'Dify checks the credentials',
    source: DIFY_SDK,
    method: 'POST',
    path: '/embeddings',
    headers: { ...json, ...bearer, 'user-agent': 'python-requests/2.32.5', 'accept-encoding': 'gzip, deflate' },
    body: { input: 'ping', model },
    reads: ['model'],
  },
  {
    client: 'Dify with a user',
    source: DIFY_SDK,
    method: 'POST',
    path: '/embeddings',
    headers: { ...json, ...bearer },
    body: { input: ['a first chunk', 'a second chunk'], model, user: 'abc-123', encoding_format: 'float' },
    reads: [...EACH, 'usage.total_tokens'],
  },
  {
    client: 'Dify without a key',
    source: DIFY_PLUGIN,
    method: 'POST',
    path: '/embeddings',
    headers: { ...json, authorization: '' },
    body: { model, input: ['a first chunk', 'a second chunk'], encoding_format: 'float' },
    reads: [...EACH, 'usage.prompt_tokens'],
  },
  {
    client: 'n8n fills its list of models',
    source: N8N,
    method: 'GET',
    path: '/models',
    headers: { ...bearer, accept: 'application/json,text/*;q=0.99' },
    reads: ['data.0.id'],
  },
  {
    client: 'n8n embeds documents',
    source: `${N8N}, over @langchain/openai and openai`,
    method: 'POST',
    path: '/embeddings',
    headers: { ...json, ...bearer, ...openaiNode },
    body: { model, input: ['a first chunk', 'a second chunk'], dimensions: 256, encoding_format: 'base64' },
    reads: [...EACH, 'usage.prompt_tokens'],
  },
  {
    client: 'Continue indexes a code base',
    source: CONTINUE,
    method: 'POST',
    path: '/embeddings',
    headers: { ...json, ...bearer, 'api-key': KEY },
    body: { input: ['function a() {}', 'function b() {}'], model },
    reads: EACH,
  },
  {
    client: 'Continue without a key',
    source: CONTINUE,
    method: 'POST',
    path: '/embeddings',
    headers: { ...json, authorization: 'Bearer undefined', 'api-key': '' },
    body: { input: ['function a() {}', 'function b() {}'], model },
    reads: EACH,
  },
  {
    client: 'Continue through its OpenAI adapter',
    source: CONTINUE_ADAPTER,
    method: 'POST',
    path: '/embeddings',
    headers: { ...json, ...bearer, ...openaiNode },
    body: { model, input: ['function a() {}', 'function b() {}'], encoding_format: 'base64' },
    reads: EACH,
  },
  {
    client: 'Continue lists models',
    source: CONTINUE_ADAPTER,
    method: 'GET',
    path: '/models',
    headers: { ...bearer, ...openaiNode, 'x-api-key': KEY },
    reads: ['data.0.id'],
  },
  {
    client: 'Spring AI embeds documents',
    source: SPRING_AI,
    method: 'POST',
    path: '/embeddings',
    headers: { ...json, ...bearer, ...jdk, 'user-agent': 'Java-http-client/21.0.4', 'transfer-encoding': 'chunked' },
    body: { input: ['a first chunk', 'a second chunk'], model, encoding_format: 'float' },
    reads: [...EACH, 'data.0.index', 'usage.prompt_tokens', 'usage.total_tokens', 'model'],
  },
  {
    client: 'Spring AI with dimensions and a user',
    source: SPRING_AI,
    method: 'POST',
    path: '/embeddings',
    headers: { ...json, ...bearer, ...jdk, 'user-agent': 'Java-http-client/21.0.4' },
    body: {
      input: ['a first chunk', 'a second chunk'],
      model,
      encoding_format: 'float',
      dimensions: 128,
      user: 'user-1',
    },
    reads: EACH,
  },
  {
    client: 'LangChain4j embeds segments',
    source: LANGCHAIN4J,
    method: 'POST',
    path: '/embeddings',
    headers: { ...json, ...bearer, ...jdk, 'user-agent': 'langchain4j-openai' },
    body: { model, input: ['a first segment', 'a second segment'] },
    reads: [...EACH, 'usage.prompt_tokens', 'usage.total_tokens'],
  },
  {
    client: 'Semantic Kernel for .NET, over the openai client',
    source: `${SEMANTIC_KERNEL} dotnet/src/Connectors/Connectors.OpenAI/Core/ClientCore.Embeddings.cs at 206173b`,
    method: 'POST',
    path: '/embeddings',
    headers: {
      ...json,
      ...bearer,
      accept: 'application/json',
      'user-agent': 'Semantic-Kernel OpenAI/2.2.0 (.NET 8.0.11; Debian GNU/Linux 12)',
      'semantic-kernel-version': '1.54.0',
    },
    body: { input: ['a first text', 'a second text'], model, encoding_format: 'base64' },
    reads: [...EACH, 'data.1.index', 'usage.prompt_tokens'],
  },
  {
    client: 'Semantic Kernel for Python, over the openai client',
    source: `${SEMANTIC_KERNEL} python/semantic_kernel/connectors/ai/open_ai/services/open_ai_text_embedding_base.py at 01a9a5a`,
    method: 'POST',
    path: '/embeddings',
    headers: {
      ...json,
      ...bearer,
      accept: 'application/json',
      'accept-encoding': 'gzip, deflate',
      'user-agent': 'semantic-kernel-python/1.30.0',
      'semantic-kernel-version': 'python/1.30.0',
      'x-stainless-lang': 'python',
      'x-stainless-async': 'async:asyncio',
    },
    body: { input: ['a first text', 'a second text'], model, encoding_format: 'base64' },
    reads: [...EACH, 'usage.total_tokens'],
  },
  {
    client: 'LiteLLM passes on what it was given',
    source: 'BerriAI/litellm litellm/llms/openai/openai.py',
    method: 'POST',
    path: '/embeddings',
    headers: { ...json, ...bearer },
    body: { model, input: ['a first chunk', 'a second chunk'], user: null, timeout: 600, metadata: {} },
    reads: [...EACH, 'usage.total_tokens'],
  },
];

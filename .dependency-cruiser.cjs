// Import rules: the arrows of docs/architecture.md, enforced.
const owner = (name, packages, files) => ({
  name,
  severity: 'error',
  comment: `${packages} has one owner: ${files}`,
  from: { pathNot: [files, '\\.test\\.ts$', '^tests/', '^bench/', '^tools/'] },
  to: { path: `node_modules/(${packages})/`, dependencyTypesNot: ['type-only'] },
});

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true, dependencyTypesNot: ['type-only'] } },
    {
      name: 'processes-apart',
      severity: 'error',
      comment: 'operator, router and runtime meet only on the wire',
      from: { path: '^(operator|router|runtime)/', pathNot: '\\.test\\.ts$' },
      to: { path: '^(operator|router|runtime)/', pathNot: ['^$1/', '^operator/api/'] },
    },
    {
      name: 'runtime-knows-no-kubernetes',
      severity: 'error',
      from: { path: '^runtime/' },
      to: { path: '^(kube|operator)/' },
    },
    {
      name: 'kube-is-generic',
      severity: 'error',
      from: { path: '^kube/', pathNot: '\\.test\\.ts$' },
      to: { path: '^(operator|router|runtime|local|common/(openai|demand))/' },
    },
    {
      name: 'common-is-below',
      severity: 'error',
      from: { path: '^common/' },
      to: { path: '^(operator|router|runtime|local|kube)/' },
    },
    {
      name: 'only-local-wires-all',
      severity: 'error',
      from: { path: '^(operator|router|runtime|kube|common)/', pathNot: '\\.test\\.ts$' },
      to: { path: '^local/' },
    },
    {
      name: 'no-test-code-shipped',
      severity: 'error',
      from: { path: '^(operator|router|runtime|kube|common|local)/', pathNot: '\\.test\\.ts$' },
      to: { path: ['^tests/', '\\.test\\.ts$'] },
    },
    {
      name: 'pure-folders',
      severity: 'error',
      comment: 'decisions are functions of values',
      from: {
        path: '^(operator/(api|catalog|desired|plan)|router/routing|runtime/(scheduler|model/graph)|common/openai)/',
        pathNot: '\\.test\\.ts$',
      },
      to: { dependencyTypes: ['core'], pathNot: '^(node:)?(crypto|util|buffer)$' },
    },
    owner('client-node-owner', '@kubernetes/client-node', '^kube/config\\.ts$'),
    owner('opentelemetry-owner', '@opentelemetry/[^/]+', '^common/obs/tracer\\.ts$'),
    {
      name: 'tracing-on-demand',
      severity: 'error',
      comment: 'who does not trace does not load the SDK',
      from: { pathNot: '\\.test\\.ts$' },
      to: { path: '^common/obs/tracer\\.ts$', dynamic: false },
    },
    owner('onnxruntime-owner', 'onnxruntime-node', '^runtime/engine/session\\.ts$'),
    owner('tokenizer-owner', '@huggingface/transformers|tokenizers', '^runtime/engine/tokenizer\\.ts$'),
    owner(
      'undici-owner',
      'undici',
      '^(kube/rest\\.ts|router/upstream/|runtime/model/hub|operator/(demand|hub)/|common/http/client\\.ts)',
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};

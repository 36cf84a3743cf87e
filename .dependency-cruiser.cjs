// Import rules: the arrows of docs/architecture.md, enforced.
const TESTS = '\\.test\\.ts$';

/** Which wings of the house a wing may import, itself aside. */
const ARROWS = {
  api: ['common', 'kube/types'],
  common: [],
  kube: ['common/util'],
  hub: ['common'],
  operator: ['api', 'common', 'kube'],
  router: ['api', 'common', 'kube'],
  runtime: ['common', 'hub'],
  local: ['api', 'common', 'hub', 'kube', 'operator', 'router', 'runtime'],
  // What the command says of a model is what the runtime would do with it: one code path.
  cli: ['api', 'common', 'hub', 'kube', 'runtime/(graph|model)', 'runtime/engine/(contract|tokenizer)'],
};

/** What decides in the operator, beside the shells that read and write for it. */
const OPERATOR_CORE =
  '^operator/(manifests/|(model/(acceptance|cache|facts|ownership|plan|pods|status)|catalog/plan|autoscaler/decide)\\.ts$)';

const arrow = ([wing, targets]) => ({
  name: `${wing}-arrows`,
  severity: 'error',
  comment: `${wing} may import ${targets.join(', ') || 'nothing above it'}`,
  from: { path: `^${wing}/`, pathNot: TESTS },
  to: {
    path: `^(${Object.keys(ARROWS).join('|')}|tests|tools|bench)/`,
    pathNot: [wing, ...targets].map((target) => `^${target}(/|\\.ts$)`),
  },
});

const owner = (name, packages, files) => ({
  name,
  severity: 'error',
  comment: `${packages} has one owner: ${files}`,
  from: { pathNot: [files, TESTS, '^tests/', '^bench/', '^tools/'] },
  to: { path: `node_modules/(${packages})/`, dependencyTypesNot: ['type-only'] },
});

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true, dependencyTypesNot: ['type-only'] } },
    ...Object.entries(ARROWS).map(arrow),
    {
      name: 'no-test-code-shipped',
      severity: 'error',
      from: { path: `^(${Object.keys(ARROWS).join('|')})/`, pathNot: TESTS },
      to: { path: TESTS },
    },
    {
      name: 'pure-folders',
      severity: 'error',
      comment: 'decisions are functions of values',
      from: {
        path: ['^(api|router/routing|runtime/(scheduler|graph)|common/openai)/', OPERATOR_CORE],
        pathNot: TESTS,
      },
      to: { dependencyTypes: ['core'], pathNot: '^(node:)?(crypto|util|buffer)$' },
    },
    {
      name: 'operator-core',
      severity: 'error',
      comment: 'what decides calls nothing that reads or writes',
      from: { path: OPERATOR_CORE, pathNot: TESTS },
      to: {
        path: '^(operator|kube)/',
        pathNot: [OPERATOR_CORE, '^kube/(types|resources)\\.ts$'],
        dependencyTypesNot: ['type-only'],
      },
    },
    owner('client-node-owner', '@kubernetes/client-node', '^kube/config\\.ts$'),
    owner('opentelemetry-owner', '@opentelemetry/[^/]+', '^common/obs/tracer\\.ts$'),
    {
      name: 'tracing-on-demand',
      severity: 'error',
      comment: 'who does not trace does not load the SDK',
      from: { pathNot: TESTS },
      to: { path: '^common/obs/tracer\\.ts$', dynamic: false },
    },
    {
      name: 'http-client-on-demand',
      severity: 'error',
      comment: 'a fetch that finds all in the store loads no HTTP client',
      from: { path: '^(runtime/|hub/fetch\\.ts$)', pathNot: TESTS },
      to: { path: '^hub/(client|source)\\.ts$', dynamic: false, dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'http-not-imported',
      severity: 'error',
      comment: "an import of node:http loads Node's fetch as well: process.getBuiltinModule does not",
      from: { path: '^(api|common|hub|kube|operator|router|runtime)/', pathNot: TESTS },
      to: { path: '^(node:)?http$', dependencyTypes: ['core'], dependencyTypesNot: ['type-only'] },
    },
    owner('onnxruntime-owner', 'onnxruntime-node', '^runtime/engine/session\\.ts$'),
    owner('tokenizer-owner', '@huggingface/tokenizers|tokenizers', '^runtime/engine/tokenizer\\.ts$'),
    owner('undici-owner', 'undici', '^(kube/rest\\.ts|router/endpoints/|hub/|operator/autoscaler/|local/kubelet/)'),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};

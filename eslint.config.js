// Typed lint for everything we ship or test with: strictTypeChecked plus the rules that keep cores pure and files small.
import js from '@eslint/js';
import tseslint from 'typescript-eslint';

const ambient = (message) => ({
  'no-restricted-globals': [
    'error',
    ...['process', 'setTimeout', 'setInterval', 'setImmediate', 'fetch'].map((name) => ({ name, message })),
  ],
  'no-restricted-properties': [
    'error',
    ...[
      ['Date', 'now'],
      ['Math', 'random'],
      ['performance', 'now'],
    ].map(([object, property]) => ({ object, property, message })),
  ],
});

// Files of pure functions: time, randomness and the environment come in as values.
const PURE = [
  'api/**/*.ts',
  'operator/manifests/*.ts',
  'operator/model/{acceptance,facts,plan,pods,status}.ts',
  'operator/{catalog/plan,autoscaler/decide}.ts',
  'router/routing/table.ts',
  'runtime/{scheduler,graph}/**/*.ts',
  'common/openai/**/*.ts',
];

export default tseslint.config(
  {
    ignores: [
      'node_modules',
      'dist',
      '.kubembed',
      '**/.venv',
      '.venv-bench',
      '.venv-vllm',
      'docs/site',
      'reports',
      'coverage',
      '**/testdata',
    ],
  },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // It rejects every literal of a generated Kubernetes type.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/return-await': ['error', 'always'],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: 'only-allowed-literals' },
      ],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      'no-restricted-syntax': [
        'error',
        { selector: 'ExportDefaultDeclaration', message: 'Named exports only.' },
        { selector: 'ExportAllDeclaration', message: 'No barrels: import from the file that defines it.' },
      ],
      'max-lines': ['error', { max: 300, skipBlankLines: true, skipComments: true }],
      complexity: ['error', 12],
      'max-depth': ['error', 3],
      'max-params': ['error', 4],
      eqeqeq: 'error',
    },
  },
  {
    files: ['{api,operator,router,runtime,hub,kube,common,local,cli}/**/*.ts'],
    ignores: ['**/config.ts', '**/main.ts', '**/*.test.ts'],
    rules: {
      'no-restricted-properties': [
        'error',
        { object: 'process', property: 'env', message: 'The environment is read in config.ts alone.' },
        { object: 'process', property: 'exit', message: 'Only main.ts ends the process.' },
      ],
    },
  },
  // Last of these: it repeats nothing of the rule above, which it replaces.
  { files: PURE, ignores: ['**/*.test.ts'], rules: ambient('Pure: pass it in as a value.') },
  {
    files: ['**/*.test.ts', 'tests/**/*.ts', 'bench/**/*.ts', 'tools/**/*.ts', 'examples/**/*.ts'],
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/unbound-method': 'off',
      'max-lines': ['error', { max: 500, skipBlankLines: true, skipComments: true }],
    },
  },
  { files: ['*.config.ts', 'docs/.vitepress/*.ts'], rules: { 'no-restricted-syntax': 'off' } },
  {
    files: ['**/*.js', '**/*.mjs', '**/*.cjs'],
    languageOptions: {
      globals: {
        process: 'readonly',
        console: 'readonly',
        module: 'writable',
        require: 'readonly',
        URL: 'readonly',
        setTimeout: 'readonly',
        fetch: 'readonly',
      },
    },
  },
);

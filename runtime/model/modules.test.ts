// What modules.json and the settings of its modules are read as, in every form that sentence-transformers has written.
import { describe, expect, it } from 'vitest';
import { choosePooling, declaredPooling, readModules } from './modules.ts';

type Json = Readonly<Record<string, unknown>>;

const OLD = (kind: string): string => `sentence_transformers.models.${kind}`;
const entry = (path: string, kind: string) => ({ path, type: kind.includes('.') ? kind : OLD(kind) });

/** `Dense 2_Dense` and the like, behind Transformer and Pooling. */
function readAll(kinds: readonly string[], configs: Json = {}) {
  const entries = kinds.map((words) => {
    const [kind = '', path = ''] = words.split(' ');
    return entry(path, kind);
  });
  return readModules(new Map(Object.entries({ 'modules.json': entries, ...configs })));
}
const MEAN = { '1_Pooling/config.json': { pooling_mode: 'mean' } };
const readBehind = (kinds: readonly string[], configs: Json = {}) =>
  readAll(['Transformer', 'Pooling 1_Pooling', ...kinds], { ...MEAN, ...configs });
const pooled = (config: unknown) => readBehind([], { '1_Pooling/config.json': config });

describe('poolings', () => {
  it.each([
    [{ pooling_mode_cls_token: true, pooling_mode_mean_tokens: false }, ['cls']],
    [{ pooling_mode_mean_tokens: true, pooling_mode_max_tokens: true }, ['max', 'mean']],
    [{ pooling_mode_lasttoken: true, pooling_mode_mean_sqrt_len_tokens: true }, ['meanSqrtLength', 'lastToken']],
    [{ pooling_mode: 'weightedmean', pooling_mode_cls_token: true }, ['weightedMean']],
    [{ pooling_mode: ['mean', 'lasttoken', 'cls'] }, ['mean', 'lastToken', 'cls']],
    [{ pooling_mode_mean_tokens: false, word_embedding_dimension: 8 }, ['mean']],
    [{ embedding_dimension: 8 }, ['mean']],
  ])('%j', (config, modes) => {
    expect(pooled(config).pooling).toEqual({ modes, includePrompt: true });
  });

  it('leave out prompts where the repository says so, whichever is asked for', () => {
    const modules = pooled({ pooling_mode: 'mean', include_prompt: false });
    expect(modules.pooling).toEqual({ modes: ['mean'], includePrompt: false });
    expect(choosePooling(modules, 'cls')).toEqual({ modes: ['cls'], includePrompt: false });
  });

  it.each([
    [{ pooling_mode: 'median' }, /1_Pooling\/config\.json: pooling_mode median.*lasttoken/],
    [{ pooling_mode: [] }, /1_Pooling\/config\.json: pooling_mode/],
    [{ include_prompt: 'no' }, /1_Pooling\/config\.json: include_prompt/],
    ['text', /1_Pooling\/config\.json/],
  ])('refuse %j', (config, message) => {
    expect(() => pooled(config)).toThrow(message);
  });

  it('take the root of the length for the mean where nothing comes before the norm', () => {
    const config = { '1_Pooling/config.json': { pooling_mode: 'mean_sqrt_len_tokens' } };
    const alone = readBehind(['Normalize 2_Normalize'], config);
    expect(choosePooling(alone, 'declared').modes).toEqual(['mean']);
    expect(declaredPooling(alone)).toBe('mean');
    const followed = readBehind(['LayerNorm 2_LayerNorm'], { ...config, '2_LayerNorm/config.json': { dimension: 8 } });
    expect(choosePooling(followed, 'declared').modes).toEqual(['meanSqrtLength']);
  });

  it('are the mean where nothing is declared', () => {
    const silent = readModules(new Map());
    expect(silent.pooling).toBeUndefined();
    expect(declaredPooling(silent)).toBeUndefined();
    expect(choosePooling(silent, 'declared')).toEqual({ modes: ['mean'], includePrompt: true });
  });
});

describe('modules', () => {
  const dense = { in_features: 8, out_features: 4, bias: true };
  const step = {
    kind: 'dense',
    path: '2_Dense',
    inputs: 8,
    outputs: 4,
    bias: true,
    activation: 'tanh',
    residual: false,
  };

  it('are read under the names of every version', () => {
    const types = [
      'sentence_transformers.base.modules.transformer.Transformer',
      'sentence_transformers.sentence_transformer.modules.pooling.Pooling 1_Pooling',
      'sentence_transformers.base.modules.dense.Dense 2_Dense',
      'sentence_transformers.base.modules.normalize.Normalize 3_Normalize',
    ];
    const { input, steps } = readAll(types, { ...MEAN, '2_Dense/config.json': dense });
    expect(input).toEqual({ kind: 'Transformer', path: '' });
    expect(steps).toEqual([step]);
  });

  it('keep their order, without what does nothing', () => {
    const kinds = ['Normalize n', 'Dropout d', 'Dense 2_Dense', 'LayerNorm l', 'Normalize m', 'Dropout e'];
    const { steps } = readBehind(kinds, { '2_Dense/config.json': dense, 'l/config.json': { dimension: 4 } });
    expect(steps).toEqual([{ kind: 'normalize' }, step, { kind: 'layerNorm', path: 'l', width: 4 }]);
  });

  it.each([
    [{ activation_function: 'torch.nn.modules.linear.Identity' }, { activation: undefined }],
    [{ activation_function: 'torch.nn.modules.activation.GELU' }, { activation: 'gelu' }],
    [
      { bias: false, use_residual: true },
      { bias: false, residual: true },
    ],
    [{ module_input_name: 'sentence_embedding', module_output_name: null }, {}],
  ])('read a Dense with %j', (config, changes) => {
    const { steps } = readBehind(['Dense 2_Dense'], { '2_Dense/config.json': { ...dense, ...config } });
    expect(steps).toEqual([{ ...step, ...changes }]);
  });

  it.each([
    [{ module_input_name: 'token_embeddings' }, /2_Dense\/config\.json: module_input_name: token_embeddings/],
    [{ module_output_name: 'other' }, /module_output_name: other/],
    [{ activation_function: 'torch.nn.modules.activation.Softsign' }, /Softsign.*Tanh/],
    [{ activation_function: 'mine.Tanh' }, /mine\.Tanh/],
    [{ in_features: undefined }, /in_features/],
  ])('refuse a Dense with %j', (config, message) => {
    const configs = { '2_Dense/config.json': { ...dense, ...config } };
    expect(() => readBehind(['Dense 2_Dense'], configs)).toThrow(message);
  });

  it('behind a static table of words have nothing to pool', () => {
    expect(readAll(['StaticEmbedding 0_Static', 'Normalize 1_Normalize'])).toEqual({
      input: { kind: 'StaticEmbedding', path: '0_Static' },
      pooling: undefined,
      steps: [],
    });
  });

  it.each([
    ['settings that are missing', ['Transformer', 'Pooling pool'], /pool\/config\.json is missing/],
    ['no pooling', ['Transformer'], /modules\.json has no Pooling/],
    ['vectors of tokens', ['Transformer', 'Dense 1_Dense'], /modules\.json has no Pooling/],
    ['a second pooling', ['Transformer', 'Pooling 1_Pooling', 'Pooling 2_Pooling'], /models\.Pooling/],
    ['weights of words', ['Transformer', 'WordWeights 1_W', 'Pooling 2_Pooling'], /models\.WordWeights/],
    ['another input', ['CLIPModel'], /models\.CLIPModel/],
    ['foreign code', ['Transformer', 'Pooling 1_Pooling', 'pylate.models.Dense 2_Dense'], /modules\.json.*pylate/],
    ['a path out of the repository', ['Transformer', 'Pooling ../1_Pooling'], /path/],
  ])('refuse %s', (_what, kinds, message) => {
    expect(() => readAll(kinds, MEAN)).toThrow(message);
  });

  it('refuse two of one name', () => {
    const named = (kinds: readonly string[], name: string) =>
      kinds.map((kind, at) => ({
        idx: at,
        name,
        path: at === 0 ? '' : `${at}_${kind}`,
        type: `sentence_transformers.models.${kind}`,
      }));
    const files = new Map([['modules.json', named(['Transformer', 'Pooling'], '0')]]);
    expect(() => readModules(files)).toThrow('two modules of the name "0"');
  });

  it.each(['nonsense', [], [{ path: '' }], [3]])('refuse %j as a list of them', (list) => {
    expect(() => readModules(new Map([['modules.json', list]]))).toThrow('modules.json');
  });
});

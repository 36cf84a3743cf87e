import { describe, expect, test } from 'vitest';
import { embeddingModel } from '../tests/helpers/builders.ts';
import { specFaults, validateEmbeddingModel } from './validation.ts';

const faultsOf = (spec: object): readonly string[] => specFaults({ model: 'org/name', ...spec });

describe('specFaults', () => {
  test.each([
    {},
    { device: 'gpu', precision: 'float16' },
    { precision: 'int8' },
    { revision: 'refs/pr/3', servedNames: ['text-embedding-3-small', 'my:alias'] },
    { scaling: { minReplicas: 2, maxReplicas: 2, targetUtilization: 0.5 } },
    { cache: { emptyDir: {} } },
    { cache: { claim: { size: '5Gi', accessModes: ['ReadWriteMany'] } } },
    { resources: { limits: { cpu: 2, memory: '2Gi' } } },
    { device: 'gpu', resources: { limits: { 'nvidia.com/gpu': 1 } } },
    { podTemplate: { metadata: { labels: { a: 'b' } }, spec: { affinity: { nodeAffinity: { anything: [1, 2] } } } } },
    { servedNames: ['e5-query', 'e5-passage'], prompts: { 'e5-query': 'query', 'e5-passage': 'passage: ' } },
    { prompts: { 'org/name': '' } },
  ])('takes %j', (spec) => {
    expect(faultsOf(spec)).toEqual([]);
  });

  test.each([
    [{ model: 'a/b/c' }, /spec\.model: "a\/b\/c" does not match/],
    [{ model: '../etc' }, /spec\.model/],
    [{ model: undefined }, /spec\.model: required/],
    [{ revision: 'a/../b' }, /must not contain \.\./],
    [{ device: 'tpu' }, /spec\.device: "tpu" is none of cpu, gpu/],
    [{ servedNames: ['a', 'a'] }, /spec\.servedNames\[1\]: duplicate value/],
    [{ servedNames: [] }, /spec\.servedNames: at least 1 item/],
    [{ servedNames: ['with space'] }, /spec\.servedNames\[0\]/],
    [{ scaling: { minReplicas: 3, maxReplicas: 2 } }, /minReplicas must not exceed maxReplicas/],
    [{ scaling: { maxReplicas: 0 } }, /spec\.scaling\.maxReplicas: 0 is not between 1/],
    [{ scaling: { minReplicas: 1.5 } }, /must be integer/],
    [{ cache: {} }, /exactly one of/],
    [{ cache: { emptyDir: {}, existingClaim: 'c' } }, /exactly one of/],
    [{ device: 'gpu', precision: 'int8' }, /int8 needs device cpu/],
    [{ precision: 'float16' }, /float16 needs device gpu/],
    [{ resources: { limits: { 'nvidia.com/gpu': '1' } } }, /need device gpu/],
    [{ prompts: 'query' }, /spec\.prompts: must be object/],
    [{ prompts: { 'org/name': 3 } }, /spec\.prompts\.org\/name: must be string/],
    [{ prompts: { other: 'query' } }, /prompts may only have names that are in servedNames/],
    [{ servedNames: ['a'], prompts: { 'org/name': 'query' } }, /prompts may only have names/],
    [{ podTemplate: { metadata: { labels: { a: 1 } } } }, /spec\.podTemplate\.metadata\.labels\.a: must be string/],
    [
      { resources: { limits: Object.fromEntries(Array.from({ length: 33 }, (_, at) => [`x/${at}`, 1])) } },
      /spec\.resources\.limits: at most 32 entries/,
    ],
    [{ resources: { limits: { cpu: '-1' } } }, /does not match/],
    [{ nonsense: 1 }, /^spec\.nonsense: unknown field; known are model, revision, .*resources/],
    [{ poolling: 'cls' }, /^spec\.poolling: unknown field\. Did you mean pooling\?$/],
    [{ scaling: { minReplica: 1 } }, /^spec\.scaling\.minReplica: unknown field\. Did you mean minReplicas\?$/],
    [{ tokenSecretRef: {} }, /spec\.tokenSecretRef\.name: required/],
    [{ podTemplate: { metadata: { name: 'a' } } }, /spec\.podTemplate\.metadata\.name: unknown field/],
    [{ podTemplate: { spec: [] } }, /spec\.podTemplate\.spec: must be object/],
  ])('refuses %j', (spec, fault) => {
    expect(faultsOf(spec).join('\n')).toMatch(fault);
  });
});

describe('validateEmbeddingModel', () => {
  test('hands a sound document back', () => {
    const model = embeddingModel();
    expect(validateEmbeddingModel(model)).toEqual({ ok: true, model });
  });

  test.each([
    [null, /not an object/],
    [{ apiVersion: 'v1', kind: 'Pod' }, /must be apiVersion kubembed\.dev\/v1alpha1/],
    [{ ...embeddingModel(), metadata: { name: 'Upper' } }, /DNS name/],
    [{ ...embeddingModel(), metadata: {} }, /metadata\.name: required/],
    [{ ...embeddingModel('x'.repeat(64)) }, /at most 63/],
    [{ ...embeddingModel(), spec: undefined }, /spec: must be object/],
  ])('refuses %#', (document, fault) => {
    const verdict = validateEmbeddingModel(document);
    expect(verdict.ok ? '' : verdict.faults.join('\n')).toMatch(fault);
  });
});

// Which text is put before an input, by what a repository has and a request asks for.
import { describe, expect, it } from 'vitest';
import { promptFor, readPrompts } from './prompts.ts';
import type { AskedPrompt } from './prompts.ts';

const E5 = { prompts: { query: 'query: ', passage: 'passage: ' } };
const asked = (settings: Readonly<Record<string, unknown>>, request: AskedPrompt) =>
  promptFor(readPrompts(settings), request);

describe('the prompt', () => {
  it.each([
    [E5, {}, ''],
    [{ ...E5, default_prompt_name: 'passage' }, {}, 'passage: '],
    [{ ...E5, default_prompt_name: null }, {}, ''],
    [{}, {}, ''],
    [E5, { promptName: 'query' }, 'query: '],
    [{}, { promptName: 'query' }, ''],
    [{ ...E5, default_prompt_name: 'passage' }, { promptName: 'document' }, ''],
    [E5, { promptName: 'other' }, undefined],
    [E5, { inputType: 'query' }, 'query: '],
    [E5, { inputType: 'passage' }, 'passage: '],
    [{ prompts: { ...E5.prompts, document: '' } }, { inputType: 'document' }, 'passage: '],
    [{ prompts: { document: 'doc: ', corpus: 'c: ' } }, { inputType: 'passage' }, 'doc: '],
    [{ ...E5, default_prompt_name: 'query' }, { inputType: 'document', promptName: 'query' }, 'query: '],
    [{ prompts: { query: 'q: ' }, default_prompt_name: 'query' }, { inputType: 'document' }, ''],
    [{ prompts: { query: null } }, { promptName: 'query' }, ''],
  ] as const)('of %j for %j', (settings, request, prompt) => {
    expect(asked(settings, request)).toBe(prompt);
  });

  it('by default is one that there is', () => {
    expect(() => readPrompts({ ...E5, default_prompt_name: 'other' })).toThrow(/default_prompt_name.*other.*query/);
  });
});

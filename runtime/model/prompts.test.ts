// Which text is put before an input, by what a repository has and a request asks for.
import { describe, expect, it } from 'vitest';
import { promptFor, promptsOfNames, readPrompts } from './prompts.ts';
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

describe('the prompt of a served name', () => {
  const ofNames = (settings: Readonly<Record<string, unknown>>, asked: Readonly<Record<string, string>>) =>
    promptsOfNames(readPrompts(settings), asked);

  it.each([
    ['query', 'query: '],
    ['passage', 'passage: '],
    ['query: ', 'query: '],
    ['Instruct: find.\nQuery:', 'Instruct: find.\nQuery:'],
    ['为这个句子生成表示:', '为这个句子生成表示:'],
    ['', ''],
  ])('%j is %j', (asked, text) => {
    expect(ofNames(E5, { name: asked }).get('name')).toBe(text);
  });

  it('is what a request gets that asks for none, in whatever case it writes the name', () => {
    const settings = { ...E5, default_prompt_name: 'passage' };
    const names = ofNames(settings, { 'E5-Query': 'query', plain: '' });
    const of = (request: AskedPrompt) => promptFor(readPrompts(settings), request, names);
    expect(of({ model: 'e5-QUERY' })).toBe('query: ');
    expect(of({ model: 'plain' })).toBe('');
    expect(of({ model: 'other' })).toBe('passage: ');
    expect(of({ model: 'e5-query', promptName: 'passage' })).toBe('passage: ');
    expect(of({ model: 'e5-query', inputType: 'passage' })).toBe('passage: ');
  });

  it.each([
    [E5, 'qeury', /has no prompt qeury, which name is to have; it has query, passage/],
    // sentence-transformers knows these of every model, and they would add nothing.
    [E5, 'document', /has no prompt document/],
    [{}, 'query', /has no prompt query.*it names none/],
  ])('of %j is not %j', (settings, asked, message) => {
    expect(() => ofNames(settings, { name: asked })).toThrow(message);
    expect(() => ofNames(settings, { name: asked })).toThrow(expect.objectContaining({ reason: 'PromptNotFound' }));
  });
});

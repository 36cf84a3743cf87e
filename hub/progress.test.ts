import { expect, test } from 'vitest';
import { drawBar, showProgress } from './progress.ts';

const collect = (isTerminal: boolean, json = false) => {
  let text = '';
  let now = 0;
  const show = showProgress({
    modelId: 'acme/x',
    isTerminal,
    json,
    write: (piece) => {
      text += piece;
    },
    now: () => now,
  });
  const at = (seconds: number, bytes: number): void => {
    now = seconds * 1000;
    show({ kind: 'progress', file: 'f', fileBytes: bytes, fileTotal: 100e6, bytes, total: 100e6 });
  };
  return { show, at, text: () => text };
};

test('a terminal gets one line, redrawn, ended when all is there', () => {
  const { at, text } = collect(true);
  at(0, 0);
  at(0.01, 1e6);
  at(1, 25e6);
  at(2, 100e6);
  const frames = text().split('\r\u001B[K').slice(1);
  expect(frames.length).toBe(3);
  expect(frames[1]).toContain('25 % of 100 MB, 25.0 MB/s, 3 s left');
  expect(frames[2]?.endsWith('\n')).toBe(true);
});

test('elsewhere a plain line every few seconds', () => {
  const { at, text } = collect(false);
  for (let second = 0; second <= 12; second++) at(second, second * 5e6);
  expect(
    text()
      .trim()
      .split('\n')
      .map((line) => line.slice(0, 16)),
  ).toEqual(['acme/x: 0 % of 1', 'acme/x: 25 % of ', 'acme/x: 50 % of ']);
});

test('bytes of an earlier fetch do not count as speed', () => {
  const { at, text } = collect(false);
  at(0, 50e6);
  at(10, 60e6);
  expect(text()).toContain('60 % of 100 MB, 1.0 MB/s');
});

test('as JSON every line parses and names the model', () => {
  const { at, show, text } = collect(false, true);
  show({ kind: 'source', source: 'hub', detail: 'https://hub.test' });
  at(1, 1e6);
  show({ kind: 'retry', what: 'f', why: 'cut', delayMs: 500 });
  const lines = text()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines.map((line) => line['model'])).toEqual(['acme/x', 'acme/x', 'acme/x']);
  expect(lines[2]?.['msg']).toBe('f: cut; trying again in 0.5 s');
});

test('a message does not land in the middle of the bar', () => {
  const { at, show, text } = collect(true);
  at(0, 10);
  show({ kind: 'waiting', detail: 'x' });
  expect(text()).toContain('\nacme/x: waiting: x\n');
});

test('the bar of an empty fetch is full', () => {
  expect(drawBar({ bytes: 0, total: 0, bytesPerSecond: 0 })).toContain('100 %');
});

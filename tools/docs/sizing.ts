// The table of docs/sizing.md: what a million and five million documents take, by model and length, from the measured numbers. Pure.
import { estimate, podsFor, rateOf } from '../../cli/sizing.ts';
import type { Measured, Shape } from '../../cli/sizing.ts';
import { table } from './markdown.ts';

/** Layers of BERT's kind: four square matrices of attention, and two that are four times as wide. */
const bert = (layers: number, hiddenSize: number): Shape => ({
  parameters: layers * 12 * hiddenSize ** 2,
  layers,
  hiddenSize,
});

const MODELS: readonly (readonly [string, Shape, readonly number[]])[] = [
  ['all-MiniLM-L6-v2', bert(6, 384), [50, 200]],
  ['bge-small, e5-small', bert(12, 384), [50, 200, 500]],
  ['bge-base, e5-base', bert(12, 768), [50, 200, 500]],
  ['bge-large, e5-large, bge-m3', bert(24, 1024), [50, 200, 500]],
];
const JOB = { unitsPerPod: 4, efficiency: 0.9, price: 0.04 };
const NIGHT = 8;

const print = (value: number): string => (value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString('en-US'));

export const renderSizing = (measured: Measured): string =>
  table(
    [
      'model',
      'tokens each',
      'tokens/s of a core',
      'core-hours for 1 million',
      'core-hours for 5 million',
      'money for 5 million',
      `pods of 4 cores for 5 million in ${NIGHT} hours`,
    ],
    MODELS.flatMap(([model, shape, lengths]) =>
      lengths.map((tokens) => {
        const { tokensPerSecond } = rateOf(measured, 'float32', shape, tokens);
        const job = { ...JOB, tokens, tokensPerSecond };
        const [one, five] = [1e6, 5e6].map((documents) => estimate({ ...job, documents, pods: 1 }));
        return [
          model,
          String(tokens),
          print(tokensPerSecond),
          print(one?.unitHours ?? 0),
          print(five?.unitHours ?? 0),
          print(five?.money ?? 0),
          String(podsFor({ ...job, documents: 5e6 }, NIGHT)),
        ];
      }),
    ),
  );

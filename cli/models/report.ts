// The verdict on a model as a person reads it. Pure.
import { printBytes } from '../style.ts';
import type { Paint } from '../style.ts';
import type { Verdict } from './judge.ts';

const millions = (parameters: number): string =>
  parameters >= 1e9 ? `${(parameters / 1e9).toFixed(1)} billion` : `${(parameters / 1e6).toFixed(1)} million`;

function weightsLine({ format, bytes, dtypes, parameters }: Verdict['weights']): string {
  const types = dtypes === undefined ? '' : `, ${dtypes.join(' and ')}`;
  const size = parameters === undefined ? '' : `, ${millions(parameters)} parameters`;
  return `${printBytes(bytes)} ${format}${types}${size}`;
}

function memoryLine({ device, precision, leastBytes, cpus, bytes }: Verdict['memory']): string {
  const more = cpus > 1 ? `, ${printBytes(bytes)} to use ${cpus} CPUs` : '';
  return `about ${printBytes(leastBytes)}${more} (${device}, ${precision})`;
}

export interface Listing {
  readonly file: string;
  readonly listed: boolean;
}

export function report(verdict: Verdict, { file, listed }: Listing, paint: Paint): string {
  const { model, pooling } = verdict;
  const declared = pooling.declared === undefined ? 'the repository declares none' : `declared: ${pooling.declared}`;
  const facts = [
    ['architecture', `${verdict.architecture} (${verdict.modelType})`],
    ['dimensions', String(verdict.dimensions)],
    ['max tokens', String(verdict.maxTokens)],
    ['pooling', `${pooling.used} (${declared})`],
    ['weights', weightsLine(verdict.weights)],
    ['memory', memoryLine(verdict.memory)],
    ['revision', `${verdict.revision.slice(0, 12)} (${verdict.source})`],
    ['listed', listed ? `yes, in ${file}` : `no; add it with: kubembed models add ${model}`],
  ] as const;
  return [
    `${paint('green', '✔')} ${paint('bold', model)} can be served\n\n`,
    ...facts.map(([name, text]) => `  ${paint('dim', name.padEnd(14))}${text}\n`),
    ...verdict.warnings.map((warning) => `\n${paint('yellow', '!')} ${warning}\n`),
  ].join('');
}

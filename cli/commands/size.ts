// `kubembed size`: pods, hours and money for a bulk job, by the formula of cli/sizing.ts.
import { readFileSync } from 'node:fs';
import { printBytes } from '../../common/util/text.ts';
import { printCount } from '../bulk/progress.ts';
import { CommandError, parse, SELF, UsageError } from '../command.ts';
import type { CliIo, Command, Parsed } from '../command.ts';
import { estimate, podsFor, rateOf, shapeOf } from '../sizing.ts';
import type { Estimate, Job, Measured, Rate, Shape } from '../sizing.ts';
import { painter, table } from '../terminal.ts';
import { findRepository } from './models.ts';

const OPTIONS = {
  model: { type: 'string', short: 'm' },
  documents: { type: 'string' },
  tokens: { type: 'string' },
  device: { type: 'string' },
  precision: { type: 'string' },
  cores: { type: 'string' },
  pods: { type: 'string' },
  hours: { type: 'string' },
  'tokens-per-second': { type: 'string' },
  efficiency: { type: 'string' },
  price: { type: 'string' },
  parameters: { type: 'string' },
  layers: { type: 'string' },
  'hidden-size': { type: 'string' },
  revision: { type: 'string' },
  store: { type: 'string' },
  offline: { type: 'boolean' },
  json: { type: 'boolean' },
} as const;

const PRECISIONS = ['float32', 'int8'] as const;
/** Of one core, and of one GPU, an hour: round numbers, to be replaced by one's own. */
const PRICES = { cpu: 0.04, gpu: 4 } as const;
const PODS = [1, 2, 4, 8, 16];

const readMeasured = (): Measured =>
  JSON.parse(readFileSync(new URL('../measured.json', import.meta.url), 'utf8')) as Measured;

/** `5e6` and `2.5` as well. @throws UsageError */
function quantity({ text }: Parsed, option: string, fallback?: number): number {
  const given = text(option);
  if (given === undefined && fallback !== undefined) return fallback;
  const value = Number(given);
  if (given !== undefined && value > 0 && Number.isFinite(value)) return value;
  throw new UsageError(`--${option}: expected a number above 0, got ${given === undefined ? 'none' : `"${given}"`}`);
}

async function shapeFrom(model: string, parsed: Parsed, io: CliIo): Promise<Shape> {
  if (parsed.text('parameters') !== undefined)
    return {
      parameters: quantity(parsed, 'parameters'),
      layers: quantity(parsed, 'layers', 12),
      hiddenSize: quantity(parsed, 'hidden-size', 768),
    };
  const { json, tensors } = await findRepository(model, parsed, io);
  if (tensors === undefined)
    throw new CommandError(
      `The sizes of ${model}'s weights could not be read. Give --parameters (without embeddings), or --tokens-per-second as "${SELF} bench" measures it.`,
    );
  return shapeOf(tensors, json.get('config.json'));
}

async function rateFrom(model: string, parsed: Parsed, io: CliIo): Promise<Rate> {
  const measured = readMeasured();
  const isGpu = parsed.choice('device', ['cpu', 'gpu']) === 'gpu';
  if (parsed.text('tokens-per-second') !== undefined)
    return { tokensPerSecond: quantity(parsed, 'tokens-per-second'), source: 'as given' };
  if (!isGpu) {
    const precision = parsed.choice('precision', PRECISIONS) ?? 'float32';
    const shape = model === measured.model ? measured.shape : await shapeFrom(model, parsed, io);
    return rateOf(measured, precision, shape, quantity(parsed, 'tokens'));
  }
  const { card, float16 } = measured.gpu;
  if (model === measured.model) return { tokensPerSecond: float16, source: `as measured on an ${card}` };
  // With the measured model the card was mostly idle: nothing follows from it for a larger one.
  throw new CommandError(
    `On a GPU only ${measured.model} was measured. Give --tokens-per-second as "${SELF} bench" measures it with ${model}.`,
  );
}

const rowOf = ({ pods, hours, unitHours, money }: Estimate): { text: string }[] =>
  [
    printCount(pods),
    hours < 10 ? hours.toFixed(1) : printCount(hours),
    printCount(unitHours),
    money < 10 ? money.toFixed(2) : printCount(money),
  ].map((text) => ({ text }));

interface Sized {
  readonly model: string;
  readonly job: Omit<Job, 'pods'>;
  readonly rate: Rate;
  readonly estimates: readonly Estimate[];
  readonly unit: 'core' | 'GPU';
  readonly inTime: { readonly hours: number; readonly pods: number } | undefined;
}

function report({ model, job, rate, estimates, unit, inTime }: Sized, io: CliIo): string {
  const { documents, tokens, unitsPerPod, efficiency, price } = job;
  const columns = ['pods', 'hours', `${unit}-hours`, 'money'].map((title) => ({ title, align: 'right' }) as const);
  const perPod = rate.tokensPerSecond * unitsPerPod * efficiency;
  return [
    `${printCount(documents)} documents of ${printCount(tokens)} tokens with ${model}: ${printCount((documents * tokens) / 1e6)} million tokens\n\n`,
    `one ${unit}: ${printCount(rate.tokensPerSecond)} tokens/s (${rate.source})\n`,
    `one pod: ${printCount(unitsPerPod)} × ${unit}, of which a job reaches ${efficiency}: ${printCount(perPod)} tokens/s\n`,
    `price: ${price} for a ${unit} an hour\n\n`,
    table(columns, estimates.map(rowOf), { paint: painter(io.output.colour), width: io.output.columns() }),
    ...(inTime === undefined ? [] : [`\nDone in ${inTime.hours} hours with ${printCount(inTime.pods)} pods.\n`]),
    `\nEvery number is an option: --tokens-per-second, --cores, --efficiency, --price, --pods, --hours.\n`,
    `A vector of 384 float32 numbers is 1.5 kB: ${printBytes(documents * 384 * 4)} for all; other sizes in proportion.\n`,
  ].join('');
}

export const sizeCommand: Command = {
  summary: 'Estimate pods, hours and money for many documents',
  usage: `kubembed size --documents N --tokens N [--model ID] [--hours N | --pods N] [options] [--json]

hours = documents × tokens ÷ (tokens/s of a core × cores × pods × efficiency × 3600); money = hours × pods × cores × price.

  --documents N          how many; 5e6 is five million
  --tokens N             of a document, on average
  -m, --model ID         default: the model that was measured, all-MiniLM-L6-v2
  --device cpu|gpu       with gpu, a unit is a card
  --precision P          ${PRECISIONS.join(', ')} (CPU)
  --cores N              of a pod; default 4 (GPU: 1 card)
  --pods N, --hours N    for so many pods; how many pods for so many hours
  --tokens-per-second N  of one core or card, as measured with "${SELF} bench"; default: estimated from the published numbers
                         by the size of the model, which is read from its repository (hub, else store)
  --parameters N         of the matrices, without embeddings, where there is no repository; --layers N, --hidden-size N
  --efficiency N         share of what was measured that a whole job reaches; default 0.9
  --price N              of a core or card an hour; default ${PRICES.cpu} and ${PRICES.gpu}, which are round numbers, not the prices of a provider
  --revision, --store, --offline   where the repository is read, as in "${SELF} models check"`,
  options: OPTIONS,
  choices: { device: ['cpu', 'gpu'], precision: PRECISIONS },
  async run(args, io) {
    const parsed = parse(args, OPTIONS);
    const model = parsed.text('model') ?? readMeasured().model;
    const [documents, tokens] = [quantity(parsed, 'documents'), quantity(parsed, 'tokens')];
    const device = parsed.choice('device', ['cpu', 'gpu']) ?? 'cpu';
    const rate = await rateFrom(model, parsed, io);
    const job = {
      documents,
      tokens,
      tokensPerSecond: rate.tokensPerSecond,
      unitsPerPod: quantity(parsed, 'cores', device === 'gpu' ? 1 : 4),
      efficiency: quantity(parsed, 'efficiency', 0.9),
      price: quantity(parsed, 'price', PRICES[device]),
    };
    const hours = parsed.text('hours') === undefined ? undefined : quantity(parsed, 'hours');
    const inTime = hours === undefined ? undefined : { hours, pods: podsFor(job, hours) };
    const pods = parsed.text('pods') === undefined ? PODS : [parsed.count('pods', 1)];
    const wanted = [...new Set([...pods, ...(inTime === undefined ? [] : [inTime.pods])])].sort((a, b) => a - b);
    const sized: Sized = {
      model,
      job,
      rate,
      estimates: wanted.map((count) => estimate({ ...job, pods: count })),
      unit: device === 'gpu' ? 'GPU' : 'core',
      inTime,
    };
    io.write(parsed.flag('json') ? `${JSON.stringify(sized)}\n` : report(sized, io));
    return 0;
  },
};

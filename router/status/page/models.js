// The table of models: one row each, its state in a word and its reason in a sentence.
import { byId, count, element, milliseconds } from './text.js';

const facts = ({ model, names, device, precision, dimensions, maxTokens }) =>
  [
    names.length === 1 && names[0] === model ? undefined : `as ${names.join(', ')}`,
    dimensions === undefined ? undefined : `${dimensions} dimensions`,
    maxTokens === undefined ? undefined : `${maxTokens} tokens`,
    // Most models run on CPUs, and few are awake: what goes without saying would fill the page.
    precision === undefined && device === 'cpu' ? undefined : [device, precision].filter(Boolean).join(' '),
  ]
    .filter(Boolean)
    .join(' · ');

const note = (text) => (text === '' ? undefined : element('span', { class: 'model-note' }, text));

const number = (label, ...content) => element('td', { class: 'number', 'data-label': label }, ...content);

const waiting = ({ queued, inFlight }) => {
  if (queued > 0) return `${count(queued)} waiting`;
  return inFlight > 0 ? `${count(inFlight)} running` : '';
};

const perSecond = (rate) => (rate > 0 ? `${count(rate)}/s` : '');

/** States that say all there is to say; the sentence is there for who points at them. */
const PLAIN = ['ready', 'asleep'];

const classOf = ({ state, requests, replicas }) => {
  if (requests > 0 || replicas.ready > 0) return undefined;
  return PLAIN.includes(state) ? 'unused plain' : 'unused';
};

const row = (model) => {
  const { latencyMs, replicas } = model;
  const isPlain = PLAIN.includes(model.state);
  const latency = latencyMs ? `${milliseconds(latencyMs.p50)} / ${milliseconds(latencyMs.p95)}` : '–';
  return element(
    'tr',
    { 'data-model': model.model, class: classOf(model) },
    element('td', {}, element('span', { class: 'model-name' }, model.model), note(facts(model))),
    element(
      'td',
      {},
      element('span', { class: `pill ${model.state}`, title: `${model.reason}: ${model.message}` }, model.state),
      isPlain ? undefined : note(model.message),
    ),
    number('Replicas ready', `${replicas.ready} / ${replicas.wanted}`, element('small', {}, waiting(model))),
    number('Requests', count(model.requests), element('small', {}, perSecond(model.requestsPerSecond))),
    number('Tokens', count(model.tokens), element('small', {}, perSecond(model.tokensPerSecond))),
    number('Latency p50 / p95', latency),
  );
};

/** What runs or needs attention comes first. */
const ORDER = ['failed', 'refused', 'starting', 'ready', 'stopped', 'asleep'];

let shown = '';

export const showModels = (models) => {
  // Rows are made anew only when they say something new: a person may be selecting text.
  const next = JSON.stringify(models);
  if (next === shown) return;
  shown = next;
  const ordered = models.toSorted((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
  byId('models').replaceChildren(...ordered.map(row));
  byId('no-models').hidden = models.length > 0;
};

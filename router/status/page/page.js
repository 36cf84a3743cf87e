// The status page: reads `status.json` every two seconds and shows it; pauses while nobody looks.
/* global document, window, sessionStorage, clearTimeout */
import { createPlot } from './plot.js';
import { byId, count, duration, element, milliseconds, setText } from './text.js';
import { offerModels, startTrying } from './try.js';

const EVERY_MS = 2000;
const KEY = 'kubembed-key';

const plots = {
  requests: createPlot(byId('plot-requests'), { title: 'Requests per second', filled: true, format: count }),
  tokens: createPlot(byId('plot-tokens'), { title: 'Tokens per second', filled: true, format: count }),
  latency: createPlot(byId('plot-latency'), {
    title: 'Latency',
    labels: ['median', 'p95'],
    log: true,
    format: milliseconds,
  }),
};

const headers = () => {
  const key = sessionStorage.getItem(KEY);
  return key ? { authorization: `Bearer ${key}` } : {};
};

const showTiles = ({ models, totals }) => {
  const ready = models.filter(({ state }) => state === 'ready').length;
  const asleep = models.filter(({ state }) => state === 'asleep').length;
  setText('tile-ready', `${ready} / ${models.length}`);
  setText('tile-ready-note', asleep > 0 ? `${asleep} asleep` : '');
  setText('tile-requests', count(totals.requests));
  setText('tile-requests-note', `${count(totals.requestsPerSecond)}/s this minute`);
  setText('tile-tokens', count(totals.tokens));
  setText('tile-tokens-note', `${count(totals.tokensPerSecond)}/s this minute`);
  setText('tile-latency', milliseconds(totals.latencyMs?.p50));
  setText('tile-latency-note', totals.latencyMs ? `p95 ${milliseconds(totals.latencyMs.p95)}` : 'no requests lately');
  setText('tile-errors', count(totals.errors));
  const percent = totals.requests > 0 ? (totals.errors / totals.requests) * 100 : 0;
  setText('tile-errors-note', totals.errors > 0 ? `${percent.toFixed(percent < 1 ? 2 : 1)} % of requests` : '');
};

// The table of models: one row each, its state in a word and its reason in a sentence.

/** What a client cannot tell from the id. */
const namesBeside = (model, names) => {
  const others = names.filter((name) => name !== model);
  if (others.length === 0) return undefined;
  return `${names.includes(model) ? 'also' : 'as'} ${others.join(', ')}`;
};

const facts = ({ model, names, device, precision, dimensions, maxTokens, pooling, declaredPooling }) =>
  [
    namesBeside(model, names),
    dimensions === undefined ? undefined : `${dimensions} dimensions`,
    maxTokens === undefined ? undefined : `${maxTokens} tokens`,
    declaredPooling === undefined ? undefined : `pooling ${pooling} (repository declares ${declaredPooling})`,
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

const showModels = (models) => {
  // Rows are made anew only when they say something new: a person may be selecting text.
  const next = JSON.stringify(models);
  if (next === shown) return;
  shown = next;
  const ordered = models.toSorted((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
  byId('models').replaceChildren(...ordered.map(row));
  byId('no-models').hidden = models.length > 0;
};

const showPlots = ({ stepSeconds, requests, tokens, p50Ms, p95Ms }) => {
  const rate = (values) => [{ values: values.map((value) => value / stepSeconds) }];
  plots.requests.show(rate(requests), stepSeconds);
  plots.tokens.show(rate(tokens), stepSeconds);
  plots.latency.show([{ values: p50Ms }, { values: p95Ms, kind: 'second' }], stepSeconds);
};

const showHealth = (word, kind) => {
  byId('health').className = `pill ${kind}`;
  setText('health', word);
};

const show = (status) => {
  const failed = status.models.filter(({ state }) => state === 'failed' || state === 'refused').length;
  if (!status.synced) showHealth('starting', 'starting');
  else if (failed > 0) showHealth(`${failed} failing`, 'failed');
  else showHealth('serving', 'ready');
  setText('version', status.version);
  setText('uptime', `Up ${duration(status.uptimeSeconds)}`);
  setText('updated', `Read ${new Date(status.now).toLocaleTimeString()}`);
  showTiles(status);
  showModels(status.models);
  showPlots(status.recent);
  offerModels(status.models);
};

const tell = (message) => {
  setText('notice', message);
  byId('notice').hidden = message === '';
};

const read = async () => {
  const response = await fetch('status.json', { headers: headers() });
  byId('key-form').hidden = response.status !== 401;
  if (response.status === 401) {
    showHealth('locked', '');
    tell('This endpoint asks for an API key.');
    return;
  }
  if (!response.ok) throw new Error(`the router answered ${response.status}`);
  show(await response.json());
  tell('');
};

let timer;

const tick = async () => {
  clearTimeout(timer);
  if (!document.hidden) {
    try {
      await read();
    } catch {
      showHealth('unreachable', 'failed');
      tell('The router does not answer. Trying again …');
    }
  }
  timer = setTimeout(tick, EVERY_MS);
};

byId('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, byId('key').value.trim());
  void tick();
});
document.addEventListener('visibilitychange', () => void tick());
window.addEventListener('resize', () => {
  for (const plot of Object.values(plots)) plot.render();
});
startTrying(headers);
void tick();

// The box to try a text and to compare two by cosine: one request to this router, drawn as bars.
/* global location, performance, setInterval, clearInterval */
import { byId, count, drawing, element, milliseconds, setText } from './text.js';

export const cosine = (a, b) => {
  let dot = 0;
  let lengthA = 0;
  let lengthB = 0;
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    lengthA += a[i] ** 2;
    lengthB += b[i] ** 2;
  }
  return dot / Math.sqrt(lengthA * lengthB);
};

const WIDTH = 1000;
const HEIGHT = 44;

const bars = (vector, kind) => {
  const most = Math.max(...vector.map(Math.abs)) || 1;
  const step = WIDTH / vector.length;
  const svg = drawing('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  vector.forEach((value, index) => {
    const height = Math.max(0.5, (Math.abs(value) / most) * (HEIGHT / 2));
    svg.append(
      drawing('rect', {
        class: kind,
        x: (index * step).toFixed(2),
        y: (value >= 0 ? HEIGHT / 2 - height : HEIGHT / 2).toFixed(2),
        width: (step * 0.8).toFixed(2),
        height: height.toFixed(2),
      }),
    );
  });
  return svg;
};

const figure = (text, vector, kind) =>
  element(
    'figure',
    { class: 'vector' },
    element('figcaption', { class: 'muted' }, text.length > 80 ? `${text.slice(0, 79)}…` : text),
    bars(vector, kind),
    element(
      'code',
      {},
      `[${vector
        .slice(0, 8)
        .map((value) => value.toFixed(4))
        .join(', ')}, …]`,
    ),
  );

const quoteForShell = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;

const texts = () => [byId('first').value, byId('second').value].filter((text) => text.trim() !== '');

const body = () => {
  const input = texts();
  return { model: byId('model').value, input: input.length === 1 ? input[0] : input };
};

const base = () => new URL('.', location.href).href;

const showForm = () => {
  setText('embed', byId('second').value.trim() === '' ? 'Embed' : 'Compare');
  byId('embed').disabled = texts().length === 0 || byId('model').value === '';
  const lines = [
    `curl ${base()}v1/embeddings`,
    "-H 'content-type: application/json'",
    `-d ${quoteForShell(JSON.stringify(body()))}`,
  ];
  setText('curl', lines.join(' \\\n  '));
};

const request = async (headers) => {
  const response = await fetch('v1/embeddings', {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify(body()),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error?.message ?? `The router answered ${response.status}.`);
  return answer;
};

const showAnswer = (input, { data, usage, model }, tookMs) => {
  const vectors = data.map(({ embedding }) => embedding);
  byId('cosine').hidden = vectors.length < 2;
  if (vectors.length > 1) {
    const similarity = cosine(vectors[0], vectors[1]);
    setText('cosine-value', similarity.toFixed(4));
    byId('cosine-bar').style.width = `${((Math.max(-1, Math.min(1, similarity)) + 1) / 2) * 100}%`;
  }
  byId('vectors').replaceChildren(
    ...vectors.map((vector, index) => figure(input[index], vector, index === 0 ? '' : 'second')),
  );
  setText(
    'facts',
    `${model} · ${vectors[0].length} dimensions · ${count(usage.prompt_tokens)} tokens · ${milliseconds(tookMs)}`,
  );
  byId('result').hidden = false;
};

const submit = async (headers) => {
  const input = texts();
  const button = byId('embed');
  const state = byId('try-state');
  const started = performance.now();
  const waited = () => Math.round((performance.now() - started) / 1000);
  button.disabled = true;
  state.className = 'muted';
  state.textContent = '';
  // A model that sleeps is woken by the request: that takes seconds, and its download may take minutes.
  const ticking = setInterval(() => {
    state.textContent = `waiting for the model, ${waited()} s`;
  }, 1000);
  try {
    showAnswer(input, await request(headers()), performance.now() - started);
    state.textContent = '';
  } catch (error) {
    byId('result').hidden = true;
    state.className = 'failed-text';
    state.textContent = error.message;
  } finally {
    clearInterval(ticking);
    showForm();
  }
};

let offered = '';

/** Those that may answer come first; what a person chose stays chosen. */
export const offerModels = (models) => {
  const usable = models.filter(({ state }) => state !== 'refused');
  const names = usable.map(({ model }) => model);
  if (names.join('\n') === offered) return;
  offered = names.join('\n');
  const select = byId('model');
  const chosen = names.includes(select.value) ? select.value : usable.find(({ state }) => state === 'ready')?.model;
  select.replaceChildren(...names.map((name) => element('option', { value: name }, name)));
  if (chosen !== undefined) select.value = chosen;
  showForm();
};

export const startTrying = (headers) => {
  byId('try').addEventListener('submit', (event) => {
    event.preventDefault();
    void submit(headers);
  });
  for (const id of ['model', 'first', 'second']) byId(id).addEventListener('input', showForm);
  showForm();
};

// Live plots: one inline SVG per figure, drawn anew with each reading; a cross-hair tells values.
import { drawing, element } from './text.js';

const HEIGHT = 140;
const EDGE = { top: 8, right: 6, bottom: 18, left: 40 };

/** The next round number whose half is round too. */
export const niceCeiling = (value) => {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 3, 4, 6, 8, 10].find((step) => step * power >= value * 0.999_999);
};

/** Path of a line that breaks where a value is missing; a lone point becomes a short dash. */
export const linePath = (points) => {
  let path = '';
  points.forEach((point, index) => {
    if (point === null) return;
    const [x, y] = point.map((number) => number.toFixed(1));
    path += points[index - 1] ? `L${x} ${y}` : `M${x} ${y}`;
    if (!points[index - 1] && !points[index + 1]) path += 'h.1';
  });
  return path;
};

const areaPath = (points, floor) => {
  const known = points.filter((point) => point !== null);
  if (known.length < 2) return '';
  return `${linePath(known)}L${known.at(-1)[0].toFixed(1)} ${floor}L${known[0][0].toFixed(1)} ${floor}Z`;
};

const linear = (values) => {
  const most = niceCeiling(Math.max(0, ...values));
  return { ticks: [0, most / 2, most], part: (value) => value / most };
};

/** A cold start takes a thousand times as long as a request: on a linear axis nothing else would be seen. */
const logarithmic = (values) => {
  const known = values.filter((value) => value > 0);
  if (known.length === 0) return { ticks: [1, 10, 100], part: (value) => Math.log10(value) / 2 };
  const low = Math.floor(Math.log10(Math.min(...known)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...known))));
  const ticks = Array.from({ length: high - low + 1 }, (_, at) => 10 ** (low + at));
  return { ticks, part: (value) => (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low) };
};

const draw = (width, { series, stepSeconds, format, filled, log }) => {
  const length = series[0].values.length;
  const { ticks, part } = (log ? logarithmic : linear)(series.flatMap(({ values }) => values));
  const inner = { width: width - EDGE.left - EDGE.right, height: HEIGHT - EDGE.top - EDGE.bottom };
  const floor = HEIGHT - EDGE.bottom;
  const x = (index) => EDGE.left + (index / Math.max(1, length - 1)) * inner.width;
  const y = (value) => floor - part(value) * inner.height;
  const svg = drawing('svg', { viewBox: `0 0 ${width} ${HEIGHT}`, 'aria-hidden': 'true' });
  for (const tick of ticks) {
    const at = y(tick);
    svg.append(
      drawing('line', { class: 'grid', x1: EDGE.left, x2: width - EDGE.right, y1: at, y2: at }),
      drawing('text', { x: EDGE.left - 6, y: at + 4, 'text-anchor': 'end' }, format(tick)),
    );
  }
  const minutes = Math.round((length * stepSeconds) / 60);
  svg.append(
    drawing('text', { x: EDGE.left, y: HEIGHT - 4 }, `${minutes} min ago`),
    drawing('text', { x: width - EDGE.right, y: HEIGHT - 4, 'text-anchor': 'end' }, 'now'),
  );
  const pointsOf = ({ values }) => values.map((value, index) => (value === null ? null : [x(index), y(value)]));
  for (const one of series) {
    const points = pointsOf(one);
    if (filled) svg.append(drawing('path', { class: 'area', d: areaPath(points, floor) }));
    svg.append(drawing('path', { class: `line ${one.kind ?? ''}`, d: linePath(points) }));
  }
  return { svg, x, y, length, indexAt: (at) => Math.round(((at - EDGE.left) / inner.width) * (length - 1)) };
};

export const createPlot = (figure, { title, labels = [], filled = false, log = false, format }) => {
  const caption = element('figcaption', {}, title);
  for (const [index, label] of labels.entries()) {
    caption.append(element('span', { class: index === 0 ? 'legend' : 'legend second' }, label));
  }
  const holder = element('div');
  const tip = element('div', { class: 'tip', hidden: '' });
  figure.append(caption, holder, tip);
  let data;
  let drawn;
  let pointerX;

  const point = () => {
    const index = drawn.indexAt(pointerX);
    const values = data.series.map((one) => one.values[index]);
    tip.hidden = index < 0 || index >= drawn.length;
    if (tip.hidden) return;
    const at = drawn.x(index);
    drawn.svg.append(
      drawing('line', { class: 'cross', x1: at, x2: at, y1: EDGE.top, y2: HEIGHT - EDGE.bottom }),
      ...values.flatMap((value, nth) =>
        value === null || value === undefined
          ? []
          : [drawing('circle', { class: `dot ${data.series[nth].kind ?? ''}`, cx: at, cy: drawn.y(value), r: 3 })],
      ),
    );
    const ago = (drawn.length - index) * data.stepSeconds;
    const words = values.map((value, nth) => {
      const name = labels[nth] === undefined ? '' : `${labels[nth]} `;
      return `${name}${value === null || value === undefined ? '–' : format(value)}`;
    });
    tip.textContent = `${words.join(' · ')} · ${ago} s ago`;
    tip.style.left = at > figure.clientWidth / 2 ? '' : `${at + 20}px`;
    tip.style.right = at > figure.clientWidth / 2 ? `${figure.clientWidth - at}px` : '';
  };

  const render = () => {
    if (data === undefined || holder.clientWidth === 0) return;
    drawn = draw(holder.clientWidth, { ...data, format, filled, log });
    holder.replaceChildren(drawn.svg);
    if (pointerX === undefined) tip.hidden = true;
    else point();
  };
  holder.addEventListener('pointermove', (event) => {
    pointerX = event.clientX - holder.getBoundingClientRect().left;
    render();
  });
  holder.addEventListener('pointerleave', () => {
    pointerX = undefined;
    render();
  });
  const show = (series, stepSeconds) => {
    data = { series, stepSeconds };
    render();
  };
  return { show, render };
};

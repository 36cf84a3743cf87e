// What the dashboard asks of Prometheus: the selections and shapes of query that its panels share.

/** Series of the router: their `model` is namespace/name, and `unknown` for names that nothing serves. */
const ROUTED = 'model=~"${namespace:regex}/${model:regex}|unknown"';
/** Series of runtimes: namespace and model come from the scrape configuration. */
const SERVED = 'namespace=~"$namespace",model=~"$model"';
const RATE = '[$__rate_interval]';

/** Every process of kubembed has one of these; Node's and client-go's names are shared with strangers. */
const OURS = '(kubembed_router_table_synced or kubembed_runtime_ready or kubembed_operator_leader)';

const selector = (...parts: readonly string[]): string => `{${parts.filter((part) => part !== '').join(',')}}`;

export const router = (metric: string, more = ''): string => `kubembed_router_${metric}${selector(ROUTED, more)}`;
export const runtime = (metric: string, more = ''): string => `kubembed_runtime_${metric}${selector(SERVED, more)}`;

export const rate = (series: string): string => `rate(${series}${RATE})`;
export const sumBy = (labels: string, inner: string): string =>
  labels === '' ? `sum(${inner})` : `sum by (${labels}) (${inner})`;
export const quantile = (q: number, bucket: string, labels = ''): string =>
  `histogram_quantile(${q}, ${sumBy(labels === '' ? 'le' : `le, ${labels}`, rate(bucket))})`;
export const ratio = (part: string, whole: string): string => `${part} / (${whole} > 0)`;

/** The operator names models in labels of its own, which a scrape that does not honour labels renames. All replicas know the same. */
export const ofModels = (metric: string, more = ''): string =>
  `max by (namespace, model) (label_replace(${metric}${selector('model=~"$model"', more)}, "namespace", "$1", "exported_namespace", "(.+)"))`;

export const ours = (series: string): string => `${series} and on (instance) ${OURS}`;
export const operators = (series: string): string => `(${series} and on (instance) kubembed_operator_leader)`;

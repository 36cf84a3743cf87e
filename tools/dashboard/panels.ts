// The dashboard's rows and panels, as a table of titles, units and queries.

export interface Query {
  readonly expr: string;
  readonly legend: string;
}

export interface Panel {
  readonly title: string;
  readonly description: string;
  readonly kind: 'timeseries' | 'stat' | 'table';
  readonly unit: string;
  readonly queries: readonly Query[];
  readonly stacked?: true;
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

// What the dashboard asks of Prometheus: the selections and shapes of query that its panels share.

/** Series of the router: their `model` is namespace/name, and `unknown` for names that nothing serves. */
const ROUTED = 'model=~"${namespace:regex}/${model:regex}|unknown"';
/** Series of runtimes: namespace and model come from the scrape configuration. */
const SERVED = 'namespace=~"$namespace",model=~"$model"';
const RATE = '[$__rate_interval]';

/** Every process of kubembed has one of these; Node's and client-go's names are shared with strangers. */
const OURS = '(kubembed_router_table_synced or kubembed_runtime_ready or kubembed_operator_leader)';

const selector = (...parts: readonly string[]): string => `{${parts.filter((part) => part !== '').join(',')}}`;

const router = (metric: string, more = ''): string => `kubembed_router_${metric}${selector(ROUTED, more)}`;
const runtime = (metric: string, more = ''): string => `kubembed_runtime_${metric}${selector(SERVED, more)}`;

const rate = (series: string): string => `rate(${series}${RATE})`;
const sumBy = (labels: string, inner: string): string =>
  labels === '' ? `sum(${inner})` : `sum by (${labels}) (${inner})`;
const quantile = (q: number, bucket: string, labels = ''): string =>
  `histogram_quantile(${q}, ${sumBy(labels === '' ? 'le' : `le, ${labels}`, rate(bucket))})`;
const ratio = (part: string, whole: string): string => `${part} / (${whole} > 0)`;

/** The operator names models in labels of its own, which a scrape that does not honour labels renames. All replicas know the same. */
const ofModels = (metric: string, more = ''): string =>
  `max by (namespace, model) (label_replace(${metric}${selector('model=~"$model"', more)}, "namespace", "$1", "exported_namespace", "(.+)"))`;

const ours = (series: string): string => `${series} and on (instance) ${OURS}`;
const operators = (series: string): string => `(${series} and on (instance) kubembed_operator_leader)`;

// The panels.

const query = (legend: string, expr: string): Query => ({ legend, expr });
const chart = (title: string, unit: string, description: string, ...queries: readonly Query[]): Panel => ({
  ...{ title, unit, description, queries },
  kind: 'timeseries',
});
const stacked = (...of: Parameters<typeof chart>): Panel => ({ ...chart(...of), stacked: true });
const stat = (title: string, unit: string, description: string, expr: string): Panel => ({
  ...{ title, unit, description, queries: [query('', expr)] },
  kind: 'stat',
});
const percentiles = (bucket: string): readonly Query[] =>
  [0.5, 0.95, 0.99].map((q) => query(`p${q * 100}`, quantile(q, bucket)));

const requests = (more = ''): string => sumBy('', rate(router('requests_total', more)));
const READY = 'condition="Ready"';

const overview: Row = {
  title: 'Overview',
  panels: [
    stat('Requests', 'reqps', 'Embedding requests a second, over all routers.', requests()),
    stat(
      'Server errors',
      'percentunit',
      'Share of requests answered 5xx.',
      `(${requests('code=~"5.."')} or vector(0)) / (${requests()} > 0)`,
    ),
    stat(
      'p95 latency',
      's',
      'Of whole requests, holds included.',
      quantile(0.95, router('request_duration_seconds_bucket')),
    ),
    stat('Tokens', 'short', 'Tokens a second, as the runtimes report them.', sumBy('', rate(router('tokens_total')))),
    stat('Models ready', 'short', 'Awake or asleep.', `sum(${ofModels('kubembed_model_condition', READY)})`),
    stat(
      'Models not ready',
      'short',
      'Ready is False; the reason is in `kubectl get embeddingmodels`.',
      `count(${ofModels('kubembed_model_condition', READY)} == 0) or vector(0)`,
    ),
  ],
};

const traffic: Row = {
  title: 'Requests',
  panels: [
    stacked(
      'Requests by status',
      'reqps',
      'By HTTP status code. 499: the client went away first.',
      query('{{code}}', sumBy('code', rate(router('requests_total')))),
    ),
    stacked(
      'Errors by reason',
      'reqps',
      '`upstream_*` are answers of a runtime.',
      query('{{reason}}', sumBy('reason', rate(router('errors_total')))),
    ),
    chart(
      'Latency',
      's',
      'From request to answer, holds included.',
      ...percentiles(router('request_duration_seconds_bucket')),
    ),
    chart(
      'Latency of endpoints',
      's',
      'From sending to the answer of an endpoint: what the router does not add.',
      ...percentiles(router('upstream_seconds_bucket')),
    ),
    stacked('Tokens by model', 'short', 'A second.', query('{{model}}', sumBy('model', rate(router('tokens_total'))))),
    stacked('Inputs by model', 'short', 'A second.', query('{{model}}', sumBy('model', rate(router('inputs_total'))))),
    chart(
      'In flight and queued',
      'short',
      'Queued requests wait for an endpoint.',
      query('in flight {{model}}', sumBy('model', router('in_flight_requests'))),
      query('queued {{model}}', sumBy('model', router('queued_requests'))),
    ),
    chart(
      'Cache and splits',
      'short',
      'Requests looked up by result, requests split over several endpoints, and their parts; a second.',
      query('cache {{result}}', sumBy('result', rate(router('cache_requests_total')))),
      query('splits', sumBy('', rate(router('splits_total')))),
      query('parts', sumBy('', rate(router('shards_total')))),
    ),
  ],
};

const waking: Row = {
  title: 'Cold starts and faults',
  panels: [
    chart(
      'Cold starts',
      's',
      'From the wake-up call to the first endpoint.',
      query('p50 {{model}}', quantile(0.5, router('cold_start_seconds_bucket'), 'model')),
      query('p95 {{model}}', quantile(0.95, router('cold_start_seconds_bucket'), 'model')),
      query('p50 to the address {{model}}', quantile(0.5, router('cold_start_address_seconds_bucket'), 'model')),
    ),
    chart('Queue times', 's', 'How long queued requests waited.', ...percentiles(router('queue_seconds_bucket'))),
    chart(
      'Wake-ups',
      'short',
      'Wake-up calls for models without an endpoint; a second.',
      query('{{model}}', sumBy('model', rate(router('activations_total')))),
    ),
    chart(
      'Retries',
      'short',
      'Attempts repeated on another endpoint, by reason; a second.',
      query('{{reason}}', sumBy('reason', rate(router('retries_total')))),
    ),
    chart(
      'Ejections',
      'short',
      'Endpoints taken out of use for failing; a second.',
      query('{{model}}', sumBy('model', rate(router('ejections_total')))),
    ),
    chart(
      'Endpoints',
      'short',
      'In the routing table; routers judge for themselves, this is the worst view.',
      query('usable {{model}}', `min by (model) (${router('endpoints', 'state="usable"')})`),
      query('ejected {{model}}', `max by (model) (${router('endpoints', 'state="ejected"')})`),
    ),
  ],
};

const BY_POD = 'namespace, model, pod';
const POD = '{{model}} {{pod}}';
const padded = sumBy(BY_POD, rate(runtime('padded_tokens_total')));
const computed = sumBy(BY_POD, rate(runtime('computed_tokens_total')));

const runtimes: Row = {
  title: 'Runtimes',
  panels: [
    stacked(
      'Answers of runtimes',
      'reqps',
      'By route and status, and failures by reason.',
      query('{{route}} {{status}}', sumBy('route, status', rate(runtime('requests_total')))),
      query('failed: {{reason}}', sumBy('reason', rate(runtime('errors_total')))),
    ),
    chart(
      'Latency of runtimes',
      's',
      'From request to answer, inside the runtime.',
      ...percentiles(runtime('request_duration_seconds_bucket')),
    ),
    chart('Queue', 'short', 'Tokens that wait for a compute thread.', query(POD, runtime('queue_tokens'))),
    chart(
      'Work at hand',
      'short',
      'Inputs that wait, and tokens that are being computed.',
      query('inputs waiting {{model}} {{pod}}', runtime('queue_inputs')),
      query('tokens running {{model}} {{pod}}', runtime('running_tokens')),
    ),
    chart(
      'Tokens of runtimes',
      'short',
      'As reported in answers, and as computed; a second.',
      query('reported {{model}}', sumBy('namespace, model', rate(runtime('tokens_total')))),
      query('computed {{model}}', sumBy('namespace, model', rate(runtime('computed_tokens_total')))),
    ),
    chart(
      'Queue in time',
      's',
      'How long the queue takes at the measured capacity.',
      query(POD, ratio(runtime('queue_tokens'), runtime('capacity_tokens_per_second'))),
    ),
    chart(
      'Capacity',
      'short',
      'Tokens a second when busy, as measured; 0 until known.',
      query(POD, runtime('capacity_tokens_per_second')),
    ),
    chart(
      'Load',
      'percentunit',
      'Tokens computed by capacity.',
      query(POD, ratio(computed, sumBy(BY_POD, runtime('capacity_tokens_per_second')))),
    ),
    chart(
      'Padding',
      'percentunit',
      'Share of computed positions that held padding: lately, and since the start of each pod.',
      query(POD, ratio(padded, `(${padded} + ${computed})`)),
      query(`since the start ${POD}`, runtime('padding_ratio')),
    ),
    chart(
      'Batch size',
      'short',
      'Tokens of the mean inference run.',
      query(POD, ratio(computed, sumBy(BY_POD, rate(runtime('batches_total'))))),
    ),
    chart(
      'Sizes',
      'short',
      'p95 of inputs in a request, and of inputs and tokens in an inference run.',
      query('inputs in a request', quantile(0.95, runtime('request_inputs_bucket'))),
      query('inputs in a run', quantile(0.95, runtime('batch_inputs_bucket'))),
      query('tokens in a run', quantile(0.95, runtime('batch_tokens_bucket'))),
    ),
    chart(
      'Stages',
      's',
      'p95 of each stage of a request.',
      query('{{stage}}', quantile(0.95, runtime('stage_duration_seconds_bucket'), 'stage')),
    ),
    chart(
      'Truncated inputs',
      'percentunit',
      "Share of inputs that were cut to the model's limit.",
      query(
        '{{model}}',
        ratio(
          sumBy('namespace, model', rate(runtime('truncated_inputs_total'))),
          sumBy('namespace, model', rate(runtime('inputs_total'))),
        ),
      ),
    ),
    chart(
      'Worker restarts',
      'short',
      'Compute threads started again, in all.',
      query(POD, runtime('worker_restarts_total')),
    ),
    chart(
      'Starts',
      's',
      'From the beginning of the process until it listened, had its model loaded and was ready: the latest of all.',
      query('{{stage}}', `max by (stage) (${runtime('start_seconds')})`),
    ),
    {
      title: 'Models served',
      unit: 'short',
      kind: 'table',
      description: 'What each replica serves, and how.',
      queries: [
        query(
          '{{exported_model}}: {{architecture}} {{precision}} on {{device}}, {{dimensions}} dimensions, threads: {{threads}}',
          'kubembed_runtime_model_info',
        ),
      ],
    },
  ],
};

const operator: Row = {
  title: 'Operator',
  panels: [
    chart(
      'Replicas',
      'short',
      'Asked for, serving as the operator sees it, and ready as the runtimes say themselves.',
      query('desired {{namespace}}/{{model}}', ofModels('kubembed_model_replicas_desired')),
      query('ready {{namespace}}/{{model}}', ofModels('kubembed_model_replicas_ready')),
      query('say so {{namespace}}/{{model}}', sumBy('namespace, model', runtime('ready'))),
    ),
    chart(
      'Stages of starts from zero',
      's',
      'Mean of each since the operator began: pod created, has a node, an address, fetches, has fetched, serving container begun, ready.',
      query(
        '{{stage}}',
        ratio(
          sumBy('stage', 'kubembed_cold_start_stage_seconds_sum'),
          sumBy('stage', 'kubembed_cold_start_stage_seconds_count'),
        ),
      ),
    ),
    chart(
      'Scale decisions',
      'short',
      'By direction; a second.',
      query('{{direction}}', sumBy('direction', rate('kubembed_scale_decisions_total'))),
    ),
    chart(
      'Reconciles',
      'short',
      'Runs of the controllers by result; a second.',
      query('{{controller}} {{result}}', sumBy('controller, result', operators(rate('controller_reconcile_total')))),
    ),
    chart(
      'Reconcile time',
      's',
      'p95 of one run.',
      query(
        '{{controller}}',
        `histogram_quantile(0.95, ${sumBy('le, controller', operators(rate('controller_reconcile_time_seconds_bucket')))})`,
      ),
    ),
    chart(
      'List of models',
      'short',
      'Models on the list, lines that cannot be read or whose place somebody else has, and models that another release manages.',
      query('models', 'max(kubembed_catalog_models)'),
      query('invalid lines', 'max(kubembed_catalog_invalid_lines)'),
      query('shadowed lines', 'max(kubembed_catalog_shadowed_lines)'),
      query('list refused', 'max(kubembed_catalog_refused)'),
      query('managed elsewhere', 'max(kubembed_operator_models_elsewhere)'),
    ),
    chart('Work queues', 'short', 'Keys that wait.', query('{{name}}', sumBy('name', operators('workqueue_depth')))),
    chart(
      'Work queue rates',
      'short',
      'Keys added, and added again after a failure; a second.',
      query('added {{name}}', sumBy('name', operators(rate('workqueue_adds_total')))),
      query('again {{name}}', sumBy('name', operators(rate('workqueue_retries_total')))),
    ),
    chart(
      'Work queue times',
      's',
      'p95 of waiting and of work; age of the oldest work in progress, and of all of it.',
      ...(['queue', 'work'] as const).map((what) =>
        query(
          `${what} {{name}}`,
          `histogram_quantile(0.95, ${sumBy('le, name', operators(rate(`workqueue_${what}_duration_seconds_bucket`)))})`,
        ),
      ),
      query('oldest {{name}}', operators('workqueue_longest_running_processor_seconds')),
      query('in progress {{name}}', operators('workqueue_unfinished_work_seconds')),
    ),
    chart(
      'API calls',
      'reqps',
      'To the Kubernetes API server; code 0 is no answer.',
      query('{{method}} {{code}}', sumBy('method, code', rate('kubembed_api_requests_total'))),
    ),
    chart(
      'API latency',
      's',
      'p95 of calls to the Kubernetes API server.',
      query('{{method}}', quantile(0.95, 'kubembed_api_request_duration_seconds_bucket', 'method')),
    ),
    chart(
      'Leaders and routers',
      'short',
      'One leader is right. While a router is unreachable nothing is scaled down.',
      query('leaders', 'sum(kubembed_operator_leader)'),
      query('routers', 'max(kubembed_operator_routers)'),
      query('routers unreachable', 'max(kubembed_operator_routers_unreachable)'),
      query('routers with a table', 'sum(kubembed_router_table_synced)'),
    ),
  ],
};

const processes: Row = {
  title: 'Processes',
  panels: [
    chart(
      'Event loop delay',
      's',
      'p99. Above some 50 ms every request of the process feels it.',
      query('{{pod}}', ours('nodejs_eventloop_lag_p99_seconds')),
    ),
    chart('CPU', 'short', 'Cores in use.', query('{{pod}}', ours(rate('process_cpu_seconds_total')))),
    chart('Memory', 'bytes', 'Resident.', query('{{pod}}', ours('process_resident_memory_bytes'))),
    chart(
      'Garbage collection',
      'percentunit',
      'Share of time spent in it.',
      query('{{pod}}', `sum by (pod) (${ours(rate('nodejs_gc_duration_seconds_sum'))})`),
    ),
  ],
};

export const ROWS: readonly Row[] = [overview, traffic, waking, runtimes, operator, processes];

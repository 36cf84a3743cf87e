// For each alert: worlds in which it must fire, with the labels it then carries, and worlds in which it must keep quiet.
// Values are promtool's notation, one a minute: `1x30` is 1 for half an hour, `0+5x30` grows by 5 a minute, `_x5` is five minutes of nothing.

export type Series = Readonly<Record<string, string>>;

export interface Firing {
  readonly series: Series;
  /** Minutes from the start. */
  readonly at: number;
  /** Besides the severity. */
  readonly labels: Readonly<Record<string, string>>;
}

export interface Quiet {
  readonly series: Series;
  readonly at: number;
}

export interface AlertCases {
  readonly fires: readonly [Firing, ...Firing[]];
  readonly quiet: readonly [Quiet, ...Quiet[]];
}

const MODEL = 'model="m"';
const TEAM = { namespace: 'team', model: 'm' };
/** As a scrape that does not honour labels leaves them. */
const RENAMED = 'exported_namespace="team",namespace="kubembed"';

const condition = (reason: string, namespaces = RENAMED): string =>
  `kubembed_model_condition{${namespaces},${MODEL},condition="Ready",reason="${reason}"}`;
const replicas = (what: 'desired' | 'ready', namespaces = RENAMED): string =>
  `kubembed_model_replicas_${what}{${namespaces},${MODEL}}`;

const ROUTED = 'model="team/m",pod="router-1"';
const requests = (code: string): string => `kubembed_router_requests_total{${ROUTED},code="${code}"}`;
const errors = (reason: string, model = 'team/m'): string =>
  `kubembed_router_errors_total{model="${model}",pod="router-1",reason="${reason}"}`;
const endpoints = (state: string, pod = 'router-1'): string =>
  `kubembed_router_endpoints{model="team/m",pod="${pod}",state="${state}"}`;
const coldStarts = (le: string): string => `kubembed_router_cold_start_seconds_bucket{${ROUTED},le="${le}"}`;
const queued = `kubembed_router_queued_requests{${ROUTED}}`;
const synced = 'kubembed_router_table_synced{pod="router-1",instance="a"}';

const POD = 'namespace="team",model="m",pod="em-m-1"';
const queue = `kubembed_runtime_queue_tokens{${POD}}`;
const capacity = `kubembed_runtime_capacity_tokens_per_second{${POD}}`;
const restarts = `kubembed_runtime_worker_restarts_total{${POD}}`;
const inputs = `kubembed_runtime_inputs_total{${POD},kind="text"}`;
const truncated = `kubembed_runtime_truncated_inputs_total{${POD}}`;

const leader = (pod: string): string => `kubembed_operator_leader{namespace="kubembed",pod="${pod}",instance="${pod}"}`;
const reconciles = (result: string, instance = 'one'): string =>
  `controller_reconcile_total{instance="${instance}",controller="models",result="${result}"}`;
const calls = (code: string): string => `kubembed_api_requests_total{namespace="kubembed",method="GET",code="${code}"}`;
const unreachable = 'kubembed_operator_routers_unreachable{namespace="kubembed",pod="one"}';
const invalid = 'kubembed_catalog_invalid_lines{namespace="kubembed",pod="one"}';
const lag = 'nodejs_eventloop_lag_p99_seconds{pod="router-1",instance="a"}';

export const ALERT_CASES: Readonly<Record<string, AlertCases>> = {
  KubembedModelNotReady: {
    fires: [
      { series: { [condition('CrashLooping')]: '0x30' }, at: 20, labels: TEAM },
      { series: { [condition('CrashLooping', 'namespace="team"')]: '0x30' }, at: 20, labels: TEAM },
      // The reason may change on the way: it is no part of the alert.
      { series: { [condition('Fetching')]: '0x9 _x30', [condition('Starting')]: '_x10 0x20' }, at: 20, labels: TEAM },
    ],
    quiet: [
      { series: { [condition('Stopped')]: '0x30' }, at: 20 },
      { series: { [condition('ScaledToZero')]: '1x30' }, at: 20 },
      { series: { [condition('NotFetched')]: '0x30' }, at: 20 },
      { series: { [condition('Fetching')]: '0x10 _x20', [condition('Ready')]: '_x10 1x20' }, at: 20 },
    ],
  },
  KubembedReplicasMissing: {
    fires: [{ series: { [replicas('desired')]: '3x40', [replicas('ready')]: '1x40' }, at: 30, labels: TEAM }],
    quiet: [
      { series: { [replicas('desired')]: '2x40', [replicas('ready')]: '2x40' }, at: 30 },
      { series: { [replicas('desired')]: '1x9 3x40', [replicas('ready')]: '1x19 3x40' }, at: 30 },
    ],
  },
  KubembedCatalogInvalidLines: {
    fires: [{ series: { [invalid]: '2x20' }, at: 15, labels: { namespace: 'kubembed' } }],
    quiet: [{ series: { [invalid]: '0x20' }, at: 15 }],
  },
  KubembedRouterDown: {
    fires: [{ series: { [leader('one')]: '1x20' }, at: 6, labels: {} }],
    quiet: [{ series: { [synced]: '1x20' }, at: 6 }],
  },
  KubembedRouterNotSynced: {
    fires: [{ series: { [synced]: '0x20' }, at: 6, labels: { pod: 'router-1', instance: 'a' } }],
    quiet: [{ series: { [synced]: '0 0 1x20' }, at: 6 }],
  },
  KubembedHighErrorRate: {
    fires: [
      { series: { [requests('200')]: '0+90x30', [requests('503')]: '0+10x30' }, at: 25, labels: { model: 'team/m' } },
    ],
    quiet: [
      { series: { [requests('200')]: '0+99x30', [requests('503')]: '0+1x30' }, at: 25 },
      { series: { [requests('400')]: '0+90x30', [requests('200')]: '0+10x30' }, at: 25 },
      { series: { [requests('200')]: '0x30', [requests('503')]: '0x30' }, at: 25 },
    ],
  },
  KubembedQueuedRequestsRefused: {
    fires: [
      {
        series: { [errors('rate_limit_exceeded')]: '5x15 6+1x15' },
        at: 20,
        labels: { model: 'team/m', reason: 'rate_limit_exceeded' },
      },
      // The very first refusals: a counter that begins at 4.
      {
        series: { [errors('service_unavailable')]: '_x15 4x15' },
        at: 17,
        labels: { model: 'team/m', reason: 'service_unavailable' },
      },
    ],
    quiet: [
      { series: { [errors('service_unavailable')]: '4x60' }, at: 30 },
      { series: { [errors('service_unavailable')]: '_x15 4x30' }, at: 40 },
      { series: { [errors('invalid_request')]: '0+9x30' }, at: 20 },
      { series: { [errors('rate_limit_exceeded', 'unknown')]: '0+9x30' }, at: 20 },
    ],
  },
  KubembedRequestsStuck: {
    fires: [{ series: { [queued]: '3x20', [endpoints('usable')]: '0x20' }, at: 10, labels: { model: 'team/m' } }],
    quiet: [
      { series: { [queued]: '3x20', [endpoints('usable')]: '1x20' }, at: 10 },
      { series: { [queued]: '0x20', [endpoints('usable')]: '0x20' }, at: 10 },
    ],
  },
  KubembedSlowColdStarts: {
    fires: [
      {
        series: { [coldStarts('120')]: '0x90', [coldStarts('300')]: '0+1x90', [coldStarts('+Inf')]: '0+1x90' },
        at: 75,
        labels: { model: 'team/m' },
      },
    ],
    quiet: [
      {
        series: { [coldStarts('120')]: '0+1x90', [coldStarts('300')]: '0+1x90', [coldStarts('+Inf')]: '0+1x90' },
        at: 75,
      },
      { series: { [coldStarts('120')]: '3x90', [coldStarts('300')]: '9x90', [coldStarts('+Inf')]: '9x90' }, at: 75 },
    ],
  },
  KubembedEndpointsEjected: {
    fires: [
      // One router is enough, and coming back in between does not help.
      {
        series: { [endpoints('ejected')]: '1 0 1 0 1 0 1 0 1 0 1 0 1', [endpoints('ejected', 'router-2')]: '0x12' },
        at: 10,
        labels: { model: 'team/m' },
      },
    ],
    quiet: [
      { series: { [endpoints('ejected')]: '0 1 0x15' }, at: 10 },
      { series: { [endpoints('ejected')]: '0x15' }, at: 10 },
    ],
  },
  KubembedRuntimeQueueSaturated: {
    fires: [
      {
        series: { [queue]: '4000x20', [capacity]: '100x20' },
        at: 15,
        labels: { namespace: 'team', model: 'm', pod: 'em-m-1' },
      },
    ],
    quiet: [
      { series: { [queue]: '2000x20', [capacity]: '100x20' }, at: 15 },
      { series: { [queue]: '2000x20', [capacity]: '0x20' }, at: 15 },
    ],
  },
  KubembedWorkerRestarts: {
    fires: [
      { series: { [restarts]: '0x9 0+1x5 5x40' }, at: 20, labels: { namespace: 'team', model: 'm', pod: 'em-m-1' } },
    ],
    quiet: [
      { series: { [restarts]: '5x60' }, at: 40 },
      { series: { [restarts]: '0x60' }, at: 40 },
    ],
  },
  KubembedTruncatedInputs: {
    fires: [{ series: { [inputs]: '0+100x120', [truncated]: '0+10x120' }, at: 90, labels: TEAM }],
    quiet: [
      { series: { [inputs]: '0+100x120', [truncated]: '0+1x120' }, at: 90 },
      { series: { [inputs]: '0x120', [truncated]: '0x120' }, at: 90 },
    ],
  },
  KubembedOperatorDown: {
    fires: [{ series: { [synced]: '1x20' }, at: 6, labels: {} }],
    quiet: [{ series: { [leader('one')]: '0x20' }, at: 6 }],
  },
  KubembedOperatorNotLeading: {
    fires: [
      { series: { [leader('one')]: '0x20', [leader('two')]: '0x20' }, at: 10, labels: { namespace: 'kubembed' } },
    ],
    quiet: [
      { series: { [leader('one')]: '0x20', [leader('two')]: '1x20' }, at: 10 },
      // A change of leader.
      { series: { [leader('one')]: '1 1 1 0x20', [leader('two')]: '0 0 0 0 0 1x20' }, at: 10 },
    ],
  },
  KubembedReconcileErrors: {
    fires: [
      {
        series: { [reconciles('error')]: '0+1x40', [leader('one')]: '1x40' },
        at: 35,
        labels: { controller: 'models' },
      },
    ],
    quiet: [
      { series: { [reconciles('success')]: '0+9x40', [leader('one')]: '1x40' }, at: 35 },
      { series: { [reconciles('error')]: '0x20 2x20', [leader('one')]: '1x40' }, at: 35 },
      // Somebody else's process with a metric of that name.
      { series: { [reconciles('error', 'stranger')]: '0+9x40', [leader('one')]: '1x40' }, at: 35 },
    ],
  },
  KubembedApiErrors: {
    fires: [
      { series: { [calls('200')]: '0+60x30', [calls('0')]: '0+60x30' }, at: 20, labels: { namespace: 'kubembed' } },
      { series: { [calls('200')]: '0+60x30', [calls('429')]: '0+60x30' }, at: 20, labels: { namespace: 'kubembed' } },
    ],
    quiet: [
      { series: { [calls('200')]: '0+60x30', [calls('0')]: '0+1x30' }, at: 20 },
      { series: { [calls('404')]: '0+60x30', [calls('409')]: '0+60x30' }, at: 20 },
    ],
  },
  KubembedRoutersUnreachable: {
    fires: [{ series: { [unreachable]: '1x20' }, at: 15, labels: { namespace: 'kubembed' } }],
    quiet: [{ series: { [unreachable]: '0x20' }, at: 15 }],
  },
  KubembedEventLoopBlocked: {
    fires: [
      { series: { [lag]: '0.5x20', [synced]: '1x20' }, at: 15, labels: { pod: 'router-1', instance: 'a' } },
      { series: { [lag]: '0.5x20', [synced]: '0x20' }, at: 15, labels: { pod: 'router-1', instance: 'a' } },
    ],
    quiet: [
      { series: { [lag]: '0.05x20', [synced]: '1x20' }, at: 15 },
      { series: { [lag]: '0.5x20' }, at: 15 },
    ],
  },
};

# Names, addresses and process handling that up.sh and down.sh share. Sourced, never run.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)

PATH=$ROOT/node_modules/.bin:$PATH # for the Node that package-lock.json pins
RUN=${KUBEMBED_CLUSTER_STATE:-$ROOT/.kubembed/cluster}
PKI=$RUN/pki LOG=$RUN/log PIDS=$RUN/pids
NS=kubembed               # network namespace that holds the whole cluster
VETH_HOST=kubembed-h VETH_NODE=kubembed-n VOID=kubembed-void BRIDGE=kubembed-br
HOST_IP=10.213.0.1 NODE_IP=10.213.0.2 NODE=node1
POD_CIDR=10.244.0.0/16 NODE_POD_CIDR=10.244.0.0/24
SVC_CIDR=10.96.0.0/16 SVC_API=10.96.0.1 SVC_DNS=10.96.0.10
ETCD_PORT=23790 API_PORT=26443
VOLATILE=/run/kubembed-cluster   # sockets: their paths may not be longer than 107 bytes
SOCKET=$VOLATILE/containerd.sock
SYSCTLS=(kernel/panic kernel/panic_on_oops vm/overcommit_memory) # kubelet sets these for the whole machine

# As root, or not at all: namespaces, mounts and cgroups are made.
require_root() { [ "$(id -u)" = 0 ] || { echo 'kubembed: the test cluster needs root; or set KUBECONFIG to a cluster that exists' >&2; exit 1; }; }

in_cluster() { nsenter --net=/run/netns/$NS "$@"; }

# start NAME CMD...: a process of its own session inside the network namespace. nsenter and not `ip netns exec`:
# that one mounts a fresh /sys, which hides /sys/fs/cgroup from kubelet and containerd.
start() {
  local name=$1; shift
  if [ -f "$PIDS/$name" ] && alive "$(cat "$PIDS/$name")"; then return; fi
  setsid nohup nsenter --net=/run/netns/$NS "$@" >"$LOG/$name.log" 2>&1 </dev/null &
  echo $! >"$PIDS/$name"
}

# A zombie counts as gone: in a container nobody may reap it for seconds, and `kill -0` still succeeds.
alive() { [ -r "/proc/$1/status" ] && ! grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null; }

# stop NAME...: asks all, then waits for each; what is still there after 15 s is killed.
stop() {
  local name pid tries
  for name in "$@"; do [ ! -f "$PIDS/$name" ] || kill "$(cat "$PIDS/$name")" 2>/dev/null || true; done
  for name in "$@"; do
    [ -f "$PIDS/$name" ] || continue
    pid=$(cat "$PIDS/$name")
    for ((tries = 0; tries < 150; tries++)); do alive "$pid" || break; sleep 0.1; done
    if alive "$pid"; then kill -9 "$pid" 2>/dev/null || true; fi
    rm -f "$PIDS/$name"
  done
}

# wait_for SECONDS PROCESS CMD...: until the command succeeds; ends early, with the log's tail, when the process dies.
wait_for() {
  local seconds=$1 process=$2 tries; shift 2
  for ((tries = 0; tries < seconds * 5; tries++)); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    if ! alive "$(cat "$PIDS/$process")"; then break; fi
    sleep 0.2
  done
  echo "kubembed: not within $seconds s: $*; the end of $process's log:" >&2
  tail -n 20 "$LOG/$process.log" >&2
  return 1
}

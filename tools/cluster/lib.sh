# Names, addresses and process handling that up.sh and down.sh share. Sourced, never run.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)

RUN=${KUBEMBED_CLUSTER_STATE:-$ROOT/.kubembed/cluster}
PATH=$RUN/bin:$ROOT/node_modules/.bin:$PATH # containerd's own programs, and the Node that package-lock.json pins
PKI=$RUN/pki LOG=$RUN/log PIDS=$RUN/pids
LAN=kubembed-lan                 # network namespace of the switch between this machine and the nodes
NS=kubembed                      # that of the first node, which has the control plane; those of others are called kubembed-2 and so on
VETH_HOST=kubembed-h VETH_NODE=kubembed-n VOID=kubembed-void BRIDGE=kubembed-br
ETCD_PORT=23790 API_PORT=6443
VOLATILE=/run/kubembed-cluster   # sockets: their paths may not be longer than 107 bytes
CGROUPS=kubembed                 # of all nodes but the first, below the machine's root
SYSCTLS=(kernel/panic kernel/panic_on_oops vm/overcommit_memory) # kubelet sets these for the whole machine

# Addresses, by family (4 or 6) and node.
host_ip() { case $1 in 4) echo 10.213.0.1 ;; 6) echo fd00:10:213::1 ;; esac; }
node_ip() { case $1 in 4) echo "10.213.0.$((${2:-$NUMBER} + 1))" ;; 6) echo "fd00:10:213::$((${2:-$NUMBER} + 1))" ;; esac; }
node_pods() { case $1 in 4) echo "10.244.$((${2:-$NUMBER} - 1)).0/24" ;; 6) echo "fd00:10:244:$((${2:-$NUMBER} - 1))::/64" ;; esac; }
lan_bits() { case $1 in 4) echo 24 ;; 6) echo 64 ;; esac; }
all_pods() { case $1 in 4) echo 10.244.0.0/16 ;; 6) echo fd00:10:244::/56 ;; esac; }
services() { case $1 in 4) echo 10.96.0.0/16 ;; 6) echo fd00:10:96::/112 ;; esac; }
api_service() { case $1 in 4) echo 10.96.0.1 ;; 6) echo fd00:10:96::1 ;; esac; }
dns_service() { case $1 in 4) echo 10.96.0.10 ;; 6) echo fd00:10:96::a ;; esac; }
any_address() { [ "$FAMILIES" = 4 ] && echo 0.0.0.0 || echo ::; }
in_url() { case $1 in *:*) echo "[$1]" ;; *) echo "$1" ;; esac; }

# listed FUNCTION: what it says of each family that the cluster has, with commas between
listed() { local family; for family in $FAMILIES; do "$1" "$family"; done | paste -sd ,; }

# select_families LIST: the first one is preferred
select_families() {
  FAMILIES=$1 MAIN=${1%% *}
  API_IP=$(node_ip "$MAIN" 1)
}
select_families "$(cat "$RUN/families" 2>/dev/null || echo 4)"

# select_node NUMBER: of which the functions about nodes speak from now on
select_node() {
  NUMBER=$1 NODE=node$1
  NODE_NS=$NS; [ "$NUMBER" = 1 ] || NODE_NS=$NS-$NUMBER
  NODE_RUN=$RUN/$NODE SOCKET=$VOLATILE/$NODE.sock
}
select_node 1

# Numbers of all nodes that were brought up.
nodes() { seq 1 "$(cat "$RUN/nodes" 2>/dev/null || echo 1)"; }

# As root, or not at all: namespaces, mounts and cgroups are made.
require_root() { [ "$(id -u)" = 0 ] || { echo 'kubembed: the test cluster needs root; or set KUBECONFIG to a cluster that exists' >&2; exit 1; }; }

in_namespace() { nsenter --net="/run/netns/$1" "${@:2}"; }
in_node() { in_namespace "$NODE_NS" "$@"; }

# start NAME CMD...: a process of its own session inside the node's network namespace. nsenter and not `ip netns exec`:
# that one mounts a fresh /sys, which hides /sys/fs/cgroup from kubelet and containerd.
start() {
  local name=$1; shift
  if [ -f "$PIDS/$name" ] && alive "$(cat "$PIDS/$name")"; then return; fi
  setsid nohup nsenter --net="/run/netns/$NODE_NS" "$@" >"$LOG/$name.log" 2>&1 </dev/null &
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

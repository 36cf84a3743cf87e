#!/usr/bin/env bash
# Takes the test cluster down and leaves nothing: pods, processes, mounts, cgroups, network namespaces, sysctls, state.
. "$(dirname "$0")/lib.sh"
require_root

all_of() { ctr -a "$SOCKET" -n k8s.io "$1" ls -q 2>/dev/null || true; }
remove_containers() {
  local id tries
  ctr -a "$SOCKET" version >/dev/null 2>&1 || return 0
  for id in $(all_of task); do ctr -a "$SOCKET" -n k8s.io task kill -s SIGKILL "$id" >/dev/null 2>&1 || true; done
  for ((tries = 0; tries < 50; tries++)); do
    ctr -a "$SOCKET" -n k8s.io task ls 2>/dev/null | grep -q RUNNING || break
    sleep 0.2
  done
  for id in $(all_of task); do ctr -a "$SOCKET" -n k8s.io task rm -f "$id" >/dev/null 2>&1 || true; done
  for id in $(all_of container); do ctr -a "$SOCKET" -n k8s.io container rm "$id" >/dev/null 2>&1 || true; done
}

# Deepest first.
unmount_below() { awk -v folder="$1/" 'index($2, folder) == 1 {print $2}' /proc/mounts | sort -r | while read -r mount; do umount -l "$mount" || true; done; }

if [ -d "$PIDS" ]; then
  stop kube-scheduler kube-controller-manager $(nodes | sed 's/.*/kubelet-node& kube-proxy-node& enforcer-node&/')
  for number in $(nodes); do
    select_node "$number"
    remove_containers
  done
  stop kube-apiserver # before etcd: without it the API server hangs for 15 s
  stop etcd $(nodes | sed 's/.*/containerd-node&/')
fi
# Shims that are left name our sockets on their command lines, so they are ours alone.
for pid in $(pgrep -f "containerd-shim-runc-v2 .*-address $VOLATILE/" || true); do kill -9 "$pid" 2>/dev/null || true; done
unmount_below "$RUN"
unmount_below $VOLATILE
for number in $(nodes); do
  select_node "$number"
  ip netns del "$NODE_NS" 2>/dev/null || true
done
ip netns del $LAN 2>/dev/null || true
ip link del $VETH_HOST 2>/dev/null || true
for cgroup in /sys/fs/cgroup/{kubepods,$CGROUPS} /sys/fs/cgroup/*/{kubepods,$CGROUPS}; do
  [ ! -d "$cgroup" ] || find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
done
[ ! -f "$RUN/sysctls" ] || while read -r sysctl value; do echo "$value" >"/proc/sys/$sysctl"; done <"$RUN/sysctls"
rm -rf $VOLATILE "$RUN"

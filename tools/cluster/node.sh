# The nodes: their network namespaces and the switch between them, containerd, kubelet and kube-proxy. Sourced by up.sh.

# A switch joins this machine and the nodes, each by a veth pair. Nothing in there has a default route, so no image pull, DNS query or
# stray ClusterIP can leave the machine; and none of the nodes' rules, routes and bridges touch the machine's own.
make_lan() {
  local family
  [ ! -e /run/netns/$LAN ] || return 0
  ip netns add $LAN
  in_namespace $LAN ip link add $LAN type bridge
  in_namespace $LAN ip link set $LAN up
  ip link add $VETH_HOST type veth peer name host netns $LAN
  join_lan host
  ip link set $VETH_HOST up
  for family in $FAMILIES; do
    ip addr add "$(host_ip "$family")/$(lan_bits "$family")" dev $VETH_HOST $(no_wait "$family")
    # Tests on this side reach ClusterIPs and pods.
    ip route add "$(services "$family")" via "$(node_ip "$family" 1)" dev $VETH_HOST
  done
}

join_lan() { in_namespace $LAN ip link set "$1" master $LAN up; }

# Nobody else can have the address.
no_wait() { [ "$1" = 4 ] || echo nodad; }

make_network() {
  local family other
  [ ! -e "/run/netns/$NODE_NS" ] || return 0
  ip netns add "$NODE_NS"
  in_node ip link add $VETH_NODE type veth peer name "$NODE" netns $LAN
  join_lan "$NODE"
  in_node ip link set lo up
  in_node ip link set $VETH_NODE up
  # The node's own packets to a ClusterIP need a route before kube-proxy's rules rewrite them; what no rule catches ends on a bridge without ports.
  in_node ip link add $VOID type bridge
  in_node ip link set $VOID up
  for family in $FAMILIES; do
    in_node ip addr add "$(node_ip "$family")/$(lan_bits "$family")" dev $VETH_NODE $(no_wait "$family")
    in_node ip route add "$(services "$family")" dev $VOID src "$(node_ip "$family")"
    ip route add "$(node_pods "$family")" via "$(node_ip "$family")" dev $VETH_HOST
    for other in $(nodes); do
      [ "$other" = "$NUMBER" ] || in_node ip route add "$(node_pods "$family" "$other")" via "$(node_ip "$family" "$other")" dev $VETH_NODE
    done
  done
  in_node sh -c 'cd /proc/sys/net; for file in ipv4/ip_forward ipv6/conf/all/forwarding bridge/bridge-nf-call-iptables bridge/bridge-nf-call-ip6tables; do [ ! -e $file ] || echo 1 >$file; done'
}

start_containerd() {
  local family ranges=() routes=()
  mkdir -p $VOLATILE "$NODE_RUN"/{cni,containerd} "$RUN/registries"
  for family in $FAMILIES; do
    ranges+=("[{\"subnet\": \"$(node_pods "$family")\"}]")
    routes+=("{\"dst\": \"$([ "$family" = 4 ] && echo 0.0.0.0/0 || echo ::/0)\"}")
  done
  cat >"$NODE_RUN/cni/10-bridge.conflist" <<J
{"cniVersion": "1.0.0", "name": "kubembed", "plugins": [
  {"type": "bridge", "bridge": "$BRIDGE", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$NODE_RUN/cni-ipam", "ranges": [$(IFS=,; echo "${ranges[*]}")], "routes": [$(IFS=,; echo "${routes[*]}")]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
J
  # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc may not lower it, and fails with "can't get final child's PID from pipe: EOF".
  # nri: its socket has the same path for every containerd of a machine.
  cat >"$NODE_RUN/containerd.toml" <<C
version = 3
root = "$NODE_RUN/containerd"
state = "$VOLATILE/$NODE"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp", "io.containerd.nri.v1.nri"]
[grpc]
  address = "$SOCKET"
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "localhost/pause:kubembed"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "$RUN/registries"
[plugins."io.containerd.cri.v1.runtime"]
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "$NODE_RUN/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        SystemdCgroup = false
C
  start "containerd-$NODE" containerd --config "$NODE_RUN/containerd.toml"
  wait_for 30 "containerd-$NODE" ctr -a "$SOCKET" version
}

start_kubelet() {
  local sysctl root
  mkdir -p "$NODE_RUN/kubelet"
  # Noted once, for down.sh to restore: kubelet changes them for the whole machine.
  [ -f "$RUN/sysctls" ] || for sysctl in "${SYSCTLS[@]}"; do echo "$sysctl $(cat "/proc/sys/$sysctl")"; done >"$RUN/sysctls"
  : >"$RUN/resolv.conf"
  root=/
  [ "$NUMBER" = 1 ] || { root=/$CGROUPS/$NODE; make_cgroup "$CGROUPS" "$CGROUPS/$NODE"; }
  # cgroupfs, because nothing promises that systemd is PID 1; failCgroupV1, because older machines have no v2.
  # cgroupRoot: a kubelet removes the cgroups of pods that it does not know.
  cat >"$NODE_RUN/kubelet.yaml" <<K
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet-$NODE.crt
tlsPrivateKeyFile: $PKI/kubelet-$NODE.key
containerRuntimeEndpoint: unix://$SOCKET
featureGates: {ImageVolume: true}
cgroupDriver: cgroupfs
cgroupRoot: $root
failSwapOn: false
failCgroupV1: false
clusterDNS: ["$(dns_service "$MAIN")"]
clusterDomain: cluster.local
resolvConf: $RUN/resolv.conf
address: "$(any_address)"
healthzBindAddress: 127.0.0.1
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%", nodefs.inodesFree: "1%"}
serializeImagePulls: false
syncFrequency: 10s
oomScoreAdj: 0
podLogsDir: $NODE_RUN/pod-logs
volumePluginDir: $RUN/volume-plugins
K
  start "kubelet-$NODE" "$BIN/kubelet" --config "$NODE_RUN/kubelet.yaml" --kubeconfig "$RUN/kubelet-$NODE.kubeconfig" \
    --hostname-override "$NODE" --node-ip "$(listed node_ip)" --root-dir "$NODE_RUN/kubelet" --v=1
  wait_for 90 "kubelet-$NODE" "$BIN/kubectl" get node "$NODE"
}

# make_cgroup FOLDER...: each within the one before, in the one hierarchy of v2 or in each of v1.
make_cgroup() {
  local folder hierarchy above file
  for folder in "$@"; do
    above=$(dirname "$folder")
    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
      sed 's/[^ ]*/+&/g' "/sys/fs/cgroup/$above/cgroup.controllers" >"/sys/fs/cgroup/$above/cgroup.subtree_control"
      mkdir -p "/sys/fs/cgroup/$folder"
    else
      for hierarchy in /sys/fs/cgroup/*; do
        mkdir -p "$hierarchy/$folder"
        # Empty in a new one, which then takes no process.
        for file in cpuset.cpus cpuset.mems; do
          [ ! -f "$hierarchy/$folder/$file" ] || cat "$hierarchy/$above/$file" >"$hierarchy/$folder/$file"
        done
      done
    fi
  done
}

start_kube_proxy() {
  # conntrack: nf_conntrack_max is not writable from inside a network namespace.
  cat >"$NODE_RUN/kube-proxy.yaml" <<K
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: $RUN/kube-proxy.kubeconfig}
clusterCIDR: "$(listed all_pods)"
hostnameOverride: $NODE
conntrack: {maxPerCore: 0}
oomScoreAdj: 0
nftables: {minSyncPeriod: 100ms, syncPeriod: 30s}
metricsBindAddress: 127.0.0.1:10249
healthzBindAddress: 127.0.0.1:10256
K
  start "kube-proxy-$NODE" "$BIN/kube-proxy" --config "$NODE_RUN/kube-proxy.yaml"
}

# The first packet of every connection from and to the node's pods is queued for a verdict. By iptables, whose target is there where
# nftables has none for queues. What the node's root sends is let through, for kubelet's probes must not be refused.
start_enforcer() {
  local family pods chain tables verdict queue=100
  for family in $FAMILIES; do
    pods=$(node_pods "$family")
    tables=(in_node "$([ "$family" = 4 ] && echo iptables || echo ip6tables)" --table mangle)
    verdict=(--jump NFQUEUE --queue-num $queue)
    ! "${tables[@]}" --check INPUT --source "$pods" "${verdict[@]}" 2>/dev/null || continue
    for chain in INPUT POSTROUTING; do
      "${tables[@]}" --append $chain --match conntrack --ctstate ESTABLISHED,RELATED --jump ACCEPT
      [ "$family" = 4 ] || "${tables[@]}" --append $chain --protocol icmpv6 --jump ACCEPT
    done
    "${tables[@]}" --append POSTROUTING --match owner --uid-owner 0 --jump ACCEPT
    "${tables[@]}" --append INPUT --source "$pods" "${verdict[@]}"
    "${tables[@]}" --append POSTROUTING --source "$pods" "${verdict[@]}"
    "${tables[@]}" --append POSTROUTING --destination "$pods" "${verdict[@]}"
  done
  start "enforcer-$NODE" "$BIN/enforcer" --kubeconfig "$RUN/admin.kubeconfig" --node "$NODE" --queue $queue
}

# The one node: its network namespace, containerd, kubelet and kube-proxy. Sourced by up.sh.

# A veth pair joins the namespace to this one. Nothing in there has a default route, so no image pull, DNS query or stray
# ClusterIP can leave the machine; and none of its rules, routes and bridges touch the machine's own.
make_network() {
  [ ! -e /run/netns/$NS ] || return 0
  ip netns add $NS
  ip link add $VETH_HOST type veth peer name $VETH_NODE netns $NS
  ip addr add $HOST_IP/24 dev $VETH_HOST
  ip link set $VETH_HOST up
  in_cluster ip link set lo up
  in_cluster ip addr add $NODE_IP/24 dev $VETH_NODE
  in_cluster ip link set $VETH_NODE up
  # The node's own packets to a ClusterIP need a route before kube-proxy's rules rewrite them; what no rule catches ends on a bridge without ports.
  in_cluster ip link add $VOID type bridge
  in_cluster ip link set $VOID up
  in_cluster ip route add $SVC_CIDR dev $VOID src $NODE_IP
  in_cluster sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables'
  # Tests on this side reach ClusterIPs and pods.
  ip route add $SVC_CIDR via $NODE_IP dev $VETH_HOST
  ip route add $POD_CIDR via $NODE_IP dev $VETH_HOST
}

start_containerd() {
  mkdir -p $VOLATILE "$RUN"/{cni,containerd}
  cat >"$RUN/cni/10-bridge.conflist" <<J
{"cniVersion": "1.0.0", "name": "kubembed", "plugins": [
  {"type": "bridge", "bridge": "$BRIDGE", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$RUN/cni-ipam", "ranges": [[{"subnet": "$NODE_POD_CIDR"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
J
  # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc may not lower it, and fails with "can't get final child's PID from pipe: EOF".
  cat >"$RUN/containerd.toml" <<C
version = 2
root = "$RUN/containerd"
state = "$VOLATILE/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "$SOCKET"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:kubembed"
  stream_server_address = "127.0.0.1"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$RUN/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
C
  start containerd containerd --config "$RUN/containerd.toml"
  wait_for 30 containerd ctr -a $SOCKET version
}

start_kubelet() {
  local sysctl
  mkdir -p "$RUN/kubelet"
  # Noted once, for down.sh to restore: kubelet changes them for the whole machine.
  [ -f "$RUN/sysctls" ] || for sysctl in "${SYSCTLS[@]}"; do echo "$sysctl $(cat "/proc/sys/$sysctl")"; done >"$RUN/sysctls"
  : >"$RUN/resolv.conf"
  # cgroupfs, because nothing promises that systemd is PID 1; failCgroupV1, because older machines have no v2.
  cat >"$RUN/kubelet.yaml" <<K
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet.crt
tlsPrivateKeyFile: $PKI/kubelet.key
containerRuntimeEndpoint: unix://$SOCKET
cgroupDriver: cgroupfs
failSwapOn: false
failCgroupV1: false
clusterDNS: [$SVC_DNS]
clusterDomain: cluster.local
resolvConf: $RUN/resolv.conf
address: 0.0.0.0
healthzBindAddress: 127.0.0.1
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%", nodefs.inodesFree: "1%"}
serializeImagePulls: false
syncFrequency: 10s
oomScoreAdj: 0
podLogsDir: $RUN/pod-logs
volumePluginDir: $RUN/kubelet-plugins
K
  start kubelet "$BIN/kubelet" --config "$RUN/kubelet.yaml" --kubeconfig "$RUN/kubelet.kubeconfig" \
    --hostname-override $NODE --node-ip $NODE_IP --root-dir "$RUN/kubelet" --v=1
  wait_for 90 kubelet "$BIN/kubectl" get node $NODE
}

start_kube_proxy() {
  # conntrack: nf_conntrack_max is not writable from inside a network namespace.
  cat >"$RUN/kube-proxy.yaml" <<K
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: $RUN/kube-proxy.kubeconfig}
clusterCIDR: $POD_CIDR
hostnameOverride: $NODE
conntrack: {maxPerCore: 0}
oomScoreAdj: 0
nftables: {minSyncPeriod: 100ms, syncPeriod: 30s}
metricsBindAddress: 127.0.0.1:10249
healthzBindAddress: 127.0.0.1:10256
K
  start kube-proxy "$BIN/kube-proxy" --config "$RUN/kube-proxy.yaml"
}

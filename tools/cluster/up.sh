#!/usr/bin/env bash
# up.sh [--nodes N] [--ipv6 | --dual-stack] [--policies]: brings up a real Kubernetes in network namespaces of its own, without Docker and without a registry.
# Every node has a containerd and a kubelet; the first has the control plane, too. With --policies NetworkPolicies are enforced.
# Prints the kubeconfig's path. Up already: does nothing. `down.sh` leaves nothing behind.
. "$(dirname "$0")/lib.sh"
. "$HERE/packages.sh"
. "$HERE/pki.sh"
. "$HERE/system-images.sh"
. "$HERE/control-plane.sh"
. "$HERE/node.sh"

usage() { echo 'usage: up.sh [--nodes N] [--ipv6 | --dual-stack] [--policies]' >&2; exit 2; }
COUNT=1 ASKED=4 POLICIES=
while [ $# -gt 0 ]; do
  case $1 in
    --nodes) COUNT=${2:-}; shift 2 || usage ;;
    --ipv6) ASKED=6; shift ;;
    --dual-stack) ASKED='4 6'; shift ;;
    --policies) POLICIES=yes; shift ;;
    *) usage ;;
  esac
done
[[ $COUNT =~ ^[1-9]$ ]] || usage

if [ -n "${KUBECONFIG:-}" ]; then
  echo "kubembed: KUBECONFIG is set, so that cluster is used as it is" >&2
  echo "$KUBECONFIG"
  exit 0
fi

say() { echo "kubembed: $* (after $SECONDS s)" >&2; }
SECONDS=0
require_root
require_packages runc:runc nft:nftables iptables:iptables buildah:buildah ip:iproute2 \
  openssl:openssl gcc:gcc /usr/lib/cni/bridge:containernetworking-plugins
BIN=$(node "$HERE/build.ts" c)
export KUBECONFIG=$RUN/admin.kubeconfig
build_system_images
say 'executables and system images are there'

mkdir -p "$PKI" "$LOG" "$PIDS"
ln -sfn "$BIN" "$RUN/bin"
[ -f "$RUN/nodes" ] || { echo "$COUNT" >"$RUN/nodes"; echo "$ASKED" >"$RUN/families"; }
[ "$(cat "$RUN/nodes") $(cat "$RUN/families")" = "$COUNT $ASKED" ] || { echo 'kubembed: it is up with other nodes or families; take it down first' >&2; exit 1; }
select_families "$ASKED"
install -D "$HERE/folder-volume.sh" "$RUN/volume-plugins/kubembed~folder/folder"
make_lan
make_pki
for number in $(nodes); do
  select_node "$number"
  make_network
  make_node_pki
  start_containerd
done
"$HERE/import-image.sh" "$(dirname "$BIN")"/images/*.tar
select_node 1
start_control_plane
say 'API server is ready'

sed "s/DNS_SERVICE/'$(dns_service "$MAIN")'/" "$HERE/manifests/system.yaml" | "$BIN/kubectl" apply -f - >/dev/null
for number in $(nodes); do
  select_node "$number"
  start_kube_proxy
  [ -z "$POLICIES" ] || start_enforcer
  start_kubelet
done
"$BIN/kubectl" wait --for=condition=Ready node --all --timeout=90s >/dev/null
say "ready: $(nodes | sed 's/^/node/' | paste -sd ' ')"
"$BIN/kubectl" -n kube-system rollout status deploy/coredns --timeout=120s >/dev/null
say "cluster is up: export KUBECONFIG=$KUBECONFIG PATH=$BIN:\$PATH"
echo "$KUBECONFIG"

#!/usr/bin/env bash
# Brings up a real single-node Kubernetes in a network namespace of its own, without Docker and without a registry.
# Prints the kubeconfig's path. Up already: does nothing. `down.sh` leaves nothing behind.
. "$(dirname "$0")/lib.sh"
. "$HERE/packages.sh"
. "$HERE/pki.sh"
. "$HERE/system-images.sh"
. "$HERE/control-plane.sh"
. "$HERE/node.sh"

if [ -n "${KUBECONFIG:-}" ]; then
  echo "kubembed: KUBECONFIG is set, so that cluster is used as it is" >&2
  echo "$KUBECONFIG"
  exit 0
fi

say() { echo "kubembed: $* (after $SECONDS s)" >&2; }
SECONDS=0
require_root
require_packages containerd:containerd runc:runc nft:nftables iptables:iptables buildah:buildah ip:iproute2 \
  openssl:openssl gcc:gcc /usr/lib/cni/bridge:containernetworking-plugins
BIN=$(node "$HERE/build.ts" c)
export KUBECONFIG=$RUN/admin.kubeconfig
build_system_images
say 'executables and system images are there'

mkdir -p "$PKI" "$LOG" "$PIDS"
make_network
make_pki
start_containerd
"$HERE/import-image.sh" "$(dirname "$BIN")"/images/*.tar
start_control_plane
say 'API server is ready'

"$BIN/kubectl" apply -f "$HERE/manifests/system.yaml" >/dev/null
start_kube_proxy
start_kubelet
"$BIN/kubectl" wait --for=condition=Ready "node/$NODE" --timeout=90s >/dev/null
say 'node is ready'
"$BIN/kubectl" -n kube-system rollout status deploy/coredns --timeout=120s >/dev/null
say "cluster is up: export KUBECONFIG=$KUBECONFIG PATH=$BIN:\$PATH"
echo "$KUBECONFIG"

#!/usr/bin/env bash
# compose.sh ARGUMENTS: podman-compose over compose.yaml and the runtime image that build.sh made, for machines without a container
# engine. Images, containers and volumes live in a store of their own. COMPOSE names the podman-compose to use.
. "$(dirname "$0")/../cluster/lib.sh"
. "$HERE/../cluster/packages.sh"
require_root
require_packages podman:podman iptables:iptables /usr/lib/cni/portmap:containernetworking-plugins

STORE=$ROOT/.kubembed/compose
mkdir -p "$STORE"
# Podman's own limits are higher than a machine without CAP_SYS_RESOURCE may set.
cat >"$STORE/containers.conf" <<EOF
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
EOF
cat >"$STORE/storage.conf" <<EOF
[storage]
driver = "overlay"
graphroot = "$STORE/store"
runroot = "/run/kubembed-compose"
EOF
export CONTAINERS_CONF=$STORE/containers.conf CONTAINERS_STORAGE_CONF=$STORE/storage.conf

podman load --quiet --input "$ROOT/.kubembed/images/runtime.tar" >/dev/null
exec "${COMPOSE:-podman-compose}" --project-name kubembed --file "$ROOT/compose.yaml" "$@"

#!/usr/bin/env bash
# import-image.sh ARCHIVE...: puts docker archives into the containerd of each node of the test cluster, where a registry would be asked otherwise.
. "$(dirname "$0")/lib.sh"
for number in $(nodes); do
  select_node "$number"
  for archive in "$@"; do ctr -a "$SOCKET" -n k8s.io images import "$archive" >/dev/null; done
done

#!/usr/bin/env bash
# import-image.sh ARCHIVE...: puts docker archives into the test cluster's containerd, where a registry would be asked otherwise.
. "$(dirname "$0")/lib.sh"
for archive in "$@"; do ctr -a $SOCKET -n k8s.io images import "$archive" >/dev/null; done

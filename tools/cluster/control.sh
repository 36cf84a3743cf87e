#!/usr/bin/env bash
# control.sh kill NAME: ends a process of the test cluster's control plane without notice. control.sh start: starts what is not running.
. "$(dirname "$0")/lib.sh"
. "$HERE/control-plane.sh"
require_root
export KUBECONFIG=$RUN/admin.kubeconfig

case ${1:-} in
  kill)
    pid=$(cat "$PIDS/$2")
    kill -9 "$pid"
    while alive "$pid"; do sleep 0.1; done
    ;;
  start)
    BIN=$(node "$HERE/build.ts" c)
    start_control_plane
    ;;
  *) echo 'usage: control.sh kill NAME | start' >&2; exit 2 ;;
esac

# What the steps of a release share. Sourced. Each step is one script, so that it can be run by hand; with DRY_RUN=1 it prints what would leave this machine.
#   GITHUB_REPOSITORY  owner/name: every name that is published comes from it
#   REGISTRY           where images and chart go; ghcr.io when unset
#   VERSION            of package.json when unset
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${GITHUB_REPOSITORY:?owner/name of the repository}"
# Registries take small letters only.
REPOSITORY=${GITHUB_REPOSITORY,,}
REGISTRY=${REGISTRY:-ghcr.io}
VERSION=${VERSION:-$(node -p "require('$ROOT/package.json').version")}
# `images.registry` of the released chart: the images' names follow it as the chart has them.
IMAGES=$REGISTRY/$REPOSITORY
OUT=${OUT:-$ROOT/dist/release}
mkdir -p "$OUT"

# Runs what publishes, or shows it.
publish() {
  if [ "${DRY_RUN:-}" = 1 ]; then
    printf '%q ' "$@"
    printf '\n'
  else
    "$@"
  fi
}

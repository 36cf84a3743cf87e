#!/usr/bin/env bash
# build.sh [operator|runtime|runtime-gpu ...]: builds the project's images with buildah and saves each as .kubembed/images/NAME.tar.
# On a machine without a registry the Dockerfiles' base images are made here, under the real ones' names (local-bases.sh).
. "$(dirname "$0")/../cluster/lib.sh"
. "$HERE/packages.sh"
. "$(dirname "$0")/local-bases.sh"
require_root
require_packages buildah:buildah debootstrap:debootstrap

SECONDS=0
VERSION=$(node -p "require('$ROOT/package.json').version")
OUT=$ROOT/.kubembed/images
mkdir -p "$OUT"
[ $# -gt 0 ] || set -- operator runtime
if [ "${KUBEMBED_BASES:-local}" = local ]; then
  make_local_bases
  case " $* " in *" runtime-gpu "*) make_gpu_bases ;; esac
fi

for image in "$@"; do
  name=localhost/kubembed/$image:$VERSION
  store bud -q --layers --pull="${KUBEMBED_PULL:-never}" --build-arg VERSION="$VERSION" \
    -f "$ROOT/Dockerfile.$image" -t "$name" "$ROOT" >/dev/null
  id=$(store images -q --no-trunc "$name")
  if [ "$(cat "$OUT/$image.id" 2>/dev/null)" != "$id" ]; then
    rm -f "$OUT/$image.tar"
    store push -q "$name" "docker-archive:$OUT/$image.tar:$name"
    echo "$id" >"$OUT/$image.id"
  fi
  echo "kubembed: $name, $(($(stat -c %s "$OUT/$image.tar") / 1000000)) MB unpacked (after $SECONDS s)" >&2
done

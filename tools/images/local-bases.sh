# Makes the Dockerfiles' base images from Debian's and npm's packages, for machines that reach these but no container registry.
# Sourced by build.sh. Kept in the cache, so it is done once.

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/kubembed/images
DEBIAN_BASE=docker.io/library/debian:12.15-slim
NODE_BASE=docker.io/library/node:24.21.0-bookworm-slim
PYTHON_BASE=docker.io/library/python:3.12.12-slim-bookworm
CUDA_BASE=docker.io/nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04
CERTIFICATES=/etc/ssl/certs/ca-certificates.crt

# A store of our own: the machine's other images are none of our business.
store() {
  local command=$1; shift
  STORAGE_DRIVER=overlay BUILDAH_ISOLATION=chroot buildah --root "$CACHE/store" --runroot /run/kubembed-images "$command" "$@"
}

make_local_bases() {
  mkdir -p "$CACHE"
  store inspect --type image $DEBIAN_BASE >/dev/null 2>&1 || make_debian_base
  store inspect --type image $NODE_BASE >/dev/null 2>&1 || make_node_base
}

# Only for the GPU image. The base has none of the CUDA libraries (2 GB): enough to see the image build, and refuse to serve.
make_gpu_bases() {
  store inspect --type image $CUDA_BASE >/dev/null 2>&1 || store tag $DEBIAN_BASE $CUDA_BASE
  store inspect --type image $PYTHON_BASE >/dev/null 2>&1 || make_python_base
}

make_debian_base() {
  local root=$CACHE/rootfs container
  echo 'kubembed: making a Debian base image (once) …' >&2
  rm -rf "$root"
  debootstrap --variant=minbase bookworm "$root" >"$CACHE/debootstrap.log" 2>&1
  rm -rf "$root"/usr/share/{doc,man,locale,info} "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
  container=$(store from scratch)
  store copy -q "$container" "$root" / >/dev/null
  store config --cmd bash "$container"
  store commit -q --rm "$container" $DEBIAN_BASE >/dev/null
  rm -rf "$root"
}

# As the official image: node and npm below /usr/local. The machine's own certificate authorities are added, because
# `npm ci` may have to pass a proxy that signs with one of them; only the build stage is made from this image.
make_node_base() {
  local container folder
  container=$(store from --pull=never $DEBIAN_BASE)
  folder=$(store mount "$container")
  mkdir -p "$folder/usr/local/lib/node_modules" "$folder/etc/ssl/certs"
  cp -L "$(node "$ROOT/cli/setup.mjs" node)" "$folder/usr/local/bin/node"
  cp -r "$(dirname "$(realpath "$(command -v npm)")")/.." "$folder/usr/local/lib/node_modules/npm"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$folder/usr/local/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$folder/usr/local/bin/npx"
  if [ -f $CERTIFICATES ]; then
    cp -L $CERTIFICATES "$folder$CERTIFICATES"
    store config --env NODE_EXTRA_CA_CERTS=$CERTIFICATES "$container"
  fi
  store umount "$container" >/dev/null
  store config --cmd node "$container"
  store commit -q --rm "$container" $NODE_BASE >/dev/null
}

# Debian's own Python does for downloading a wheel of another version.
make_python_base() {
  local container
  echo 'kubembed: making a Python base image (once) …' >&2
  container=$(store from --pull=never $DEBIAN_BASE)
  store run "$container" -- sh -c 'apt-get -qq update && apt-get -qq install --no-install-recommends python3-pip' >"$CACHE/python.log" 2>&1
  if [ -f $CERTIFICATES ]; then
    store copy -q "$container" $CERTIFICATES $CERTIFICATES >/dev/null
    store config --env PIP_CERT=$CERTIFICATES "$container"
  fi
  store commit -q --rm "$container" $PYTHON_BASE >/dev/null
}

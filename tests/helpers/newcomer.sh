#!/usr/bin/env bash
# newcomer.sh SCRIPT: runs a shell script in a Debian of its own as somebody who has just cloned the repository. There are git, curl, Node,
# npm and Python, a clone of what is committed, an empty home and nothing else. Of this machine come along: how its npm and pip reach
# their registries, and what npm has downloaded before, so that a test does not load hundreds of packages each time.
. "$(dirname "$0")/../../tools/cluster/lib.sh"
. "$ROOT/tools/cluster/packages.sh"
. "$ROOT/tools/images/local-bases.sh"
require_root
require_packages buildah:buildah debootstrap:debootstrap

script=$(realpath "$1")
IMAGE=localhost/kubembed-newcomer:1
FOLDER=/home/newcomer

make_image() {
  local container
  echo 'kubembed: making the root file system of a newcomer (once) …' >&2
  container=$(store from --pull=never $NODE_BASE)
  store run "$container" -- bash -euc '
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ca-certificates curl git procps python3 python3-pip python3-venv
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*
    useradd --create-home --shell /bin/bash newcomer' >"$CACHE/newcomer.log" 2>&1 || { tail -n 20 "$CACHE/newcomer.log" >&2; return 1; }
  store commit -q --rm "$container" $IMAGE >/dev/null
}

# What lets this machine's npm and pip reach their registries: files, and variables that hold for any directory.
carry_settings() {
  local root=$1 pair
  for pair in /etc/pip.conf:/etc/pip.conf "$HOME/.config/pip/pip.conf:$FOLDER/.config/pip/pip.conf" "$HOME/.npmrc:$FOLDER/.npmrc" \
    "$(npm config get globalconfig 2>/dev/null):/usr/local/etc/npmrc" "$CERTIFICATES:$CERTIFICATES"; do
    [ ! -f "${pair%%:*}" ] || install -D -m 644 "${pair%%:*}" "$root${pair##*:}"
  done
  [ ! -f "$root$FOLDER/.npmrc" ] || sed -i '/^nodedir/d' "$root$FOLDER/.npmrc" # a folder of this machine
  local downloads
  downloads=$(npm config get cache 2>/dev/null)/_cacache
  [ ! -d "$downloads" ] || { mkdir -p "$root$FOLDER/.npm" && cp -r "$downloads" "$root$FOLDER/.npm/"; }
}
settings() {
  local name
  for name in $(compgen -e); do
    case $name in
      PIP_* | *_proxy | *_PROXY | npm_config_registry | NPM_CONFIG_REGISTRY | NODE_EXTRA_CA_CERTS | SSL_CERT_FILE | REQUESTS_CA_BUNDLE | CURL_CA_BUNDLE | GIT_SSL_CAINFO)
        printf -- '--env\n%s=%s\n' "$name" "${!name}" ;;
    esac
  done
}

make_local_bases
store inspect --type image $IMAGE >/dev/null 2>&1 || make_image
# Node opens thousands of files at a time; buildah's default of 1024 is less than any desktop grants.
most=$(ulimit -Hn)
[ "$most" != unlimited ] || most=1048576
container=$(store from --pull=never --ulimit "nofile=$most:$most" $IMAGE)
finish() {
  store umount "$container" >/dev/null 2>&1 || true
  store rm "$container" >/dev/null 2>&1 || true
}
trap finish EXIT
root=$(store mount "$container")
SECONDS=0
git clone --quiet --no-hardlinks "$ROOT" "$root$FOLDER/kubembed"
printf '\n::begin clone\n\n::end %s\n' "$SECONDS"
install -m 755 "$script" "$root$FOLDER/.script"
carry_settings "$root"
# On a terminal curl shows no progress; here it would land in the middle of an answer.
echo no-progress-meter >"$root$FOLDER/.curlrc"
chroot "$root" chown -R newcomer: "$FOLDER"
mapfile -t settings < <(settings)
store run "${settings[@]}" --env HOME=$FOLDER --env LANG=C.UTF-8 --env npm_config_prefer_offline=true --user newcomer --workingdir $FOLDER/kubembed "$container" -- \
  timeout --kill-after=20 "${NEWCOMER_SECONDS:-600}" bash $FOLDER/.script </dev/null

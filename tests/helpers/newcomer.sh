#!/usr/bin/env bash
# newcomer.sh SCRIPT: runs a shell script in a Debian of its own as somebody who has just cloned the repository. There are git, curl, Node,
# npm and Python, a clone of what is committed, an empty home and nothing else. Of this machine come along: how its npm and pip reach
# their registries, and what npm has downloaded before, so that a test does not load hundreds of packages each time. By variables:
#   NEWCOMER_USER=root      who types; else newcomer
#   NEWCOMER_NODE=20        Node 20 with the npm that belongs to it; else the Node that kubembed brings
#   NEWCOMER_COLD=1         npm has downloaded nothing before
#   NEWCOMER_SOCKET=FILE    127.0.0.1:3128, passed on to this Unix socket, is all that leads out, and nothing of this machine's settings comes along
. "$(dirname "$0")/../../tools/cluster/lib.sh"
. "$ROOT/tools/cluster/packages.sh"
. "$ROOT/tools/images/local-bases.sh"
require_root
require_packages buildah:buildah debootstrap:debootstrap ip:iproute2

script=$(realpath "$1")
IMAGE=localhost/kubembed-newcomer:1
NEWCOMER=${NEWCOMER_USER:-newcomer}
FOLDER=/home/newcomer
[ "$NEWCOMER" != root ] || FOLDER=/root

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
}
carry_downloads() {
  local root=$1 downloads
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

# Node 20 and the npm that came with it, as many systems still have them; both are packages of npm.
older_node() {
  local folder=$CACHE/node-20
  [ -f "$folder/whole" ] || {
    echo 'kubembed: fetching Node 20 (once) …' >&2
    rm -rf "$folder"
    npm install --silent --no-save --ignore-scripts --prefix "$folder" "node-linux-$(node -p process.arch)@20.20.2" npm@10.8.2 >&2
    touch "$folder/whole"
  }
  install -m 755 "$folder"/node_modules/node-linux-*/bin/node "$1/usr/local/bin/node"
  rm -rf "$1/usr/local/lib/node_modules/npm"
  cp -r "$folder/node_modules/npm" "$1/usr/local/lib/node_modules/npm"
}

# alone SOCKET CMD...: in a network namespace from which only the socket leads out
alone() {
  ip link set lo up
  node "$ROOT/tests/helpers/relay.mjs" 3128 "$1" &
  relay=$!
  trap 'kill $relay' EXIT
  until (: </dev/tcp/127.0.0.1/3128) 2>/dev/null; do sleep 0.1; done
  "${@:2}"
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
[ "${NEWCOMER_NODE:-}" != 20 ] || older_node "$root"
settings=()
if [ -n "${NEWCOMER_SOCKET:-}" ]; then
  store config --env NODE_EXTRA_CA_CERTS- "$container"
else
  carry_settings "$root"
  mapfile -t settings < <(settings)
fi
[ -n "${NEWCOMER_COLD:-}" ] || carry_downloads "$root"
# On a terminal curl shows no progress; here it would land in the middle of an answer.
echo no-progress-meter >"$root$FOLDER/.curlrc"
chroot "$root" chown -R "$NEWCOMER:" "$FOLDER"
typed=(store run "${settings[@]}" --env HOME=$FOLDER --env LANG=C.UTF-8 --env npm_config_prefer_offline=true --user "$NEWCOMER" --workingdir $FOLDER/kubembed "$container" --
  timeout --kill-after=20 "${NEWCOMER_SECONDS:-600}" bash $FOLDER/.script)
if [ -z "${NEWCOMER_SOCKET:-}" ]; then "${typed[@]}" </dev/null; exit; fi
export -f alone store
export ROOT CACHE
unshare --net bash -euc 'alone "$@"' - "$NEWCOMER_SOCKET" "${typed[@]}" </dev/null

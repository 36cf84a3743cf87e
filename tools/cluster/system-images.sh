# The two images that the cluster itself needs, pause and CoreDNS, made from files on this machine. Sourced by up.sh.

export STORAGE_DRIVER=overlay BUILDAH_ISOLATION=chroot

# build_system_images: into $BIN/../images, once for each set of executables
build_system_images() {
  local folder work
  folder=$(dirname "$BIN")/images
  [ ! -f "$folder/coredns.tar" ] || return 0
  mkdir -p "$folder"
  work=$(mktemp -d)
  gcc -static -Os -o "$work/pause" "$HERE/pause.c"
  cp "$BIN/coredns" "$work/coredns"
  save_single_file "$work/pause" pause 65535:65535 "$folder"
  save_single_file "$work/coredns" coredns 0:0 "$folder"
  rm -rf "$work"
}

# save_single_file FILE NAME USER FOLDER: an image from scratch that holds one static executable
save_single_file() {
  local container
  container=$(buildah from scratch)
  buildah copy -q "$container" "$1" "/$2" >/dev/null
  buildah config --entrypoint "[\"/$2\"]" --user "$3" "$container"
  buildah commit -q --rm "$container" "localhost/$2:kubembed" >/dev/null
  rm -f "$4/$2.tar"
  buildah push -q "localhost/$2:kubembed" "docker-archive:$4/$2.tar:localhost/$2:kubembed"
  buildah rmi "localhost/$2:kubembed" >/dev/null
}

#!/bin/sh
# A driver for volumes that one node at a time may have, each a folder of this machine: Kubernetes attaches, and mounts what is attached.
# As FlexVolume calls it: COMMAND ARGUMENTS, options as JSON. What it does not support, kubelet does by bind mounts.
path_in() { printf %s "$1" | sed 's/.*"path":"\([^"]*\)".*/\1/'; }
case $1 in
  init) echo '{"status": "Success", "capabilities": {"attach": true}}' ;;
  attach) echo "{\"status\": \"Success\", \"device\": \"$(path_in "$2")\"}" ;;
  waitforattach) echo "{\"status\": \"Success\", \"device\": \"$2\"}" ;;
  isattached) echo '{"status": "Success", "attached": true}' ;;
  mountdevice) mkdir -p "$2" && mount --bind "$3" "$2" && echo '{"status": "Success"}' ;;
  unmountdevice) umount "$2" && echo '{"status": "Success"}' ;;
  detach) echo '{"status": "Success"}' ;;
  *) echo '{"status": "Not supported"}' ;;
esac

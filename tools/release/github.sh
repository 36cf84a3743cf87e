#!/usr/bin/env bash
# github.sh: the release on GitHub, with the notes of CHANGELOG.md and what can be downloaded.
. "$(dirname "$0")/lib.sh"
node "$ROOT/tools/release/notes.ts" "$VERSION" "$IMAGES" >"$OUT/notes.md"
latest=--latest
case $VERSION in *-*) latest=--prerelease ;; esac
publish gh release create "v$VERSION" --repo "$GITHUB_REPOSITORY" --title "kubembed $VERSION" --notes-file "$OUT/notes.md" "$latest" --verify-tag

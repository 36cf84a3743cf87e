#!/usr/bin/env bash
# npm.sh: makes the npm package of the command, by the name @OWNER/kubembed, and publishes it with provenance.
. "$(dirname "$0")/lib.sh"
folder=$OUT/npm
rm -rf "$folder"
node "$ROOT/tools/release/npm-package.ts" "$folder" "@${REPOSITORY%%/*}/kubembed" "${GITHUB_SERVER_URL:-https://github.com}/$GITHUB_REPOSITORY"
(cd "$folder" && npm pack --silent --pack-destination "$OUT" >&2)
# npm puts the variable in by itself.
registry=$(npm config get registry)
printf '%s:_authToken=${NODE_AUTH_TOKEN}\n' "${registry#http*:}" >"$OUT/npmrc"
publish npm publish "$folder" --provenance --access public --userconfig "$OUT/npmrc"

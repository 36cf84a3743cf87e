#!/usr/bin/env bash
# chart.sh: packages the chart with the registry of this repository and links to it filled in, pushes it as an OCI artifact and signs it.
. "$(dirname "$0")/lib.sh"
folder=$OUT/chart
rm -rf "$folder"
node "$ROOT/tools/release/chart.ts" "$folder/kubembed" "$IMAGES" "${GITHUB_SERVER_URL:-https://github.com}/$GITHUB_REPOSITORY"
helm lint --strict "$folder/kubembed" >&2
helm package "$folder/kubembed" --destination "$OUT" >&2
publish helm push "$OUT/kubembed-$VERSION.tgz" "oci://$IMAGES/charts" 2>&1 | tee "$OUT/chart.log"
digest=sha256:of-the-push
[ "${DRY_RUN:-}" = 1 ] || digest=$(sed -n 's/^Digest: //p' "$OUT/chart.log")
publish cosign sign --yes "$IMAGES/charts/kubembed@$digest"

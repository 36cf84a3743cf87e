#!/usr/bin/env bash
# image.sh operator|runtime|runtime-gpu: builds the image for all its platforms, pushes it with a bill of materials and provenance attached, and signs it.
. "$(dirname "$0")/lib.sh"
image=${1:?operator, runtime or runtime-gpu}
case $image in
  operator | runtime) platforms=linux/amd64,linux/arm64 ;;
  # ONNX Runtime's CUDA provider comes as a wheel for x86-64 alone.
  runtime-gpu) platforms=linux/amd64 ;;
  *) echo "there is no image '$image'" >&2; exit 2 ;;
esac
name=$IMAGES/kubembed/$image
metadata=$OUT/$image.json
publish docker buildx build --file "$ROOT/Dockerfile.$image" --platform "$platforms" --build-arg VERSION="$VERSION" \
  --label "org.opencontainers.image.source=${GITHUB_SERVER_URL:-https://github.com}/$GITHUB_REPOSITORY" \
  --label "org.opencontainers.image.revision=${GITHUB_SHA:-$(git -C "$ROOT" rev-parse HEAD)}" \
  --sbom=true --provenance=mode=max --tag "$name:$VERSION" --metadata-file "$metadata" --push "$ROOT"
digest=sha256:of-the-build
[ "${DRY_RUN:-}" = 1 ] || digest=$(node -p "require('$metadata')['containerimage.digest']")
# Keyless: the workflow's own identity, which the log of Sigstore keeps.
publish cosign sign --yes "$name@$digest"

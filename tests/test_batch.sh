#!/usr/bin/env bash
# Lists of token ids, 128 dimensions, from a running service (EMBEDDINGS_URL): status 200, one vector of 128 numbers each, of length 1.
set -euo pipefail
url="${EMBEDDINGS_URL:-http://127.0.0.1:11445}"
body="$(mktemp)"
trap 'rm -f "$body"' EXIT

status="$(curl --silent --show-error --max-time 600 --output "$body" --write-out '%{http_code}' "$url/v1/embeddings" \
  --header 'Content-Type: application/json' \
  --data '{"model":"sentence-transformers/all-MiniLM-L6-v2","dimensions":128,"input":[[101,7592,2088,102],[101,1996,4248,2829,4419,102],[101,102]]}')"
[ "$status" = 200 ] || { echo "FAIL: status $status: $(head -c 500 "$body")" >&2; exit 1; }

node --input-type=module - "$body" <<'JS'
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
const { data, usage } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
assert.deepEqual(data.map(({ index }) => index), [0, 1, 2], 'three vectors in order');
for (const { embedding } of data) {
  assert.equal(embedding.length, 128, 'dimensions');
  assert.ok(Math.abs(Math.hypot(...embedding) - 1) < 1e-4, 'unit length');
}
assert.equal(usage.prompt_tokens, 12, 'token ids are used as they are');
console.log('ok: 3 vectors of 128 numbers, 12 tokens');
JS

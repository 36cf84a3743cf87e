#!/usr/bin/env bash
# Two texts as base64 from a running service (EMBEDDINGS_URL): status 200, two texts of 2048 characters = 384 float32, of length 1.
set -euo pipefail
url="${EMBEDDINGS_URL:-http://127.0.0.1:11445}"
body="$(mktemp)"
trap 'rm -f "$body"' EXIT

status="$(curl --silent --show-error --max-time 600 --output "$body" --write-out '%{http_code}' "$url/v1/embeddings" \
  --header 'Content-Type: application/json' \
  --data '{"model":"sentence-transformers/all-MiniLM-L6-v2","encoding_format":"base64","input":["First text","Second text"]}')"
[ "$status" = 200 ] || { echo "FAIL: status $status: $(head -c 500 "$body")" >&2; exit 1; }

node --input-type=module - "$body" <<'JS'
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
const { data } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
assert.equal(data.length, 2, 'two vectors');
const vectors = data.map(({ embedding, index }, at) => {
  assert.equal(index, at, 'order');
  assert.equal(embedding.length, Math.ceil((384 * 4) / 3) * 4, 'length of the base64 text');
  const bytes = Buffer.from(embedding, 'base64');
  const vector = Array.from({ length: 384 }, (_, i) => bytes.readFloatLE(i * 4));
  assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-4, 'unit length');
  return vector;
});
assert.notDeepEqual(vectors[0], vectors[1]);
console.log('ok: 2 vectors of 384 float32 in base64');
JS

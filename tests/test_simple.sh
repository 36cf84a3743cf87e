#!/usr/bin/env bash
# One text to a running service (EMBEDDINGS_URL): status 200, one vector of 384 numbers, of length 1.
set -euo pipefail
url="${EMBEDDINGS_URL:-http://127.0.0.1:11445}"
body="$(mktemp)"
trap 'rm -f "$body"' EXIT

status="$(curl --silent --show-error --max-time 600 --output "$body" --write-out '%{http_code}' "$url/v1/embeddings" \
  --header 'Content-Type: application/json' \
  --data '{"model":"sentence-transformers/all-MiniLM-L6-v2","input":"The quick brown fox jumps over the lazy dog"}')"
[ "$status" = 200 ] || { echo "FAIL: status $status: $(head -c 500 "$body")" >&2; exit 1; }

node --input-type=module - "$body" <<'JS'
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
const { object, data, usage } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
assert.equal(object, 'list');
assert.equal(data.length, 1, 'one vector');
assert.equal(data[0].embedding.length, 384, 'dimensions');
assert.ok(Math.abs(Math.hypot(...data[0].embedding) - 1) < 1e-4, 'unit length');
assert.ok(usage.prompt_tokens > 0 && usage.total_tokens === usage.prompt_tokens, 'usage');
console.log(`ok: 1 vector of 384 numbers, ${usage.prompt_tokens} tokens`);
JS

#!/usr/bin/env bash
# The plain HTTP request: two texts in, two unit vectors out. Here is how the models are listed, too.
set -euo pipefail
url=${OPENAI_BASE_URL:-http://127.0.0.1:11445/v1}
model=${EMBEDDING_MODEL:-sentence-transformers/all-MiniLM-L6-v2}
key=(-H "authorization: Bearer ${OPENAI_API_KEY:-any}")

curl --silent --show-error --fail-with-body "${key[@]}" "$url/models"
echo
curl --silent --show-error --fail-with-body "${key[@]}" "$url/embeddings" -H 'content-type: application/json' \
  -d "{\"model\": \"$model\", \"input\": [\"A cat naps in the sun.\", \"The invoice is due on Friday.\"]}"
echo

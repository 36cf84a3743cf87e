"""sentence-transformers' encode() without a server: takes orders as JSON lines, answers with the latency of each call."""

import json
import sys
import time

from sentence_transformers import SentenceTransformer

folder, corpora_file = sys.argv[1], sys.argv[2]
with open(corpora_file, encoding="utf-8") as file:
    corpora = json.load(file)
model = SentenceTransformer(folder, device="cpu")


def encode(corpus: str, index: int) -> float:
    requests = corpora[corpus]["requests"]
    started = time.perf_counter()
    # As embeddings leave a service: as Python numbers, not as a tensor.
    model.encode(requests[index % len(requests)]["inputs"], show_progress_bar=False).tolist()
    return (time.perf_counter() - started) * 1000


def run(order: dict) -> list[float]:
    latencies = []
    until = time.perf_counter() + order["seconds"]
    while time.perf_counter() < until and len(latencies) < order.get("calls", float("inf")):
        latencies.append(encode(order["corpus"], order["from"] + len(latencies)))
    return latencies


encode("A", 0)
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    print(json.dumps({"latenciesMs": run(json.loads(line))}), flush=True)

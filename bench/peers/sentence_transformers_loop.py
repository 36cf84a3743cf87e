"""sentence-transformers' encode() without a server: takes orders as JSON lines, answers with the latency of each call."""

import json
import sys
import time

from sentence_transformers import SentenceTransformer

folder, corpora_file = sys.argv[1], sys.argv[2]
device, precision = sys.argv[3:] or ("cpu", "float32")
with open(corpora_file, encoding="utf-8") as file:
    corpora = json.load(file)
model = SentenceTransformer(folder, device=device)
if precision == "float16":
    model.half()


def encode(corpus: str, index: int, batch_size: int) -> float:
    requests = corpora[corpus]["requests"]
    started = time.perf_counter()
    # As embeddings leave a service: as Python numbers, not as a tensor.
    inputs = requests[index % len(requests)]["inputs"]
    model.encode(inputs, batch_size=batch_size, show_progress_bar=False).tolist()
    return (time.perf_counter() - started) * 1000


def run(order: dict) -> list[float]:
    latencies = []
    until = time.perf_counter() + order["seconds"]
    while time.perf_counter() < until and len(latencies) < order.get("calls", float("inf")):
        latencies.append(encode(order["corpus"], order["from"] + len(latencies), order.get("batchSize", 32)))
    return latencies


encode("A", 0, 32)
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    print(json.dumps({"latenciesMs": run(json.loads(line))}), flush=True)

"""Qdrant's client with vectors of the openai client, as its documentation has it: prints the vectors, and the order in which Qdrant finds the texts."""

import json
import sys

import openai
from qdrant_client import QdrantClient
from qdrant_client.models import Distance, PointStruct, VectorParams

base, model, *texts = sys.argv[1:]
client = openai.Client(base_url=base, api_key="any")
result = client.embeddings.create(input=texts, model=model)
points = [
    PointStruct(id=at, vector=data.embedding, payload={"text": text})
    for at, (data, text) in enumerate(zip(result.data, texts))
]
qdrant = QdrantClient(":memory:")
qdrant.create_collection("texts", vectors_config=VectorParams(size=len(points[0].vector), distance=Distance.COSINE))
qdrant.upsert("texts", points)
found = qdrant.query_points("texts", query=points[0].vector, limit=len(texts)).points
vectors = [point.vector for point in points]
print(json.dumps([vectors, [vectors[point.id] for point in sorted(found, key=lambda point: point.id)]]))

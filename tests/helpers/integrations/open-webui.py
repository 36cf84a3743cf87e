"""Open WebUI's own functions for the embedding engine "openai", out of its wheel: a list at a time, and in batches of two beside each other.

The application around them is replaced: its settings are what they are without any environment variable.
"""

import ast
import asyncio
import json
import logging
import pathlib
import sys
import types
import typing

import aiohttp

source, base, model, *texts = sys.argv[1:]
WANTED = {
    "get_embedding_function",
    "generate_embeddings",
    "agenerate_openai_batch_embeddings",
    "get_json_bearer_headers",
    "bearer_auth_header",
    "normalize_bearer_token",
}


def functions(path: str) -> list[ast.stmt]:
    tree = ast.parse((pathlib.Path(source) / path).read_text("utf-8"))
    return [node for node in tree.body if getattr(node, "name", "") in WANTED]


module = types.ModuleType("open_webui")
vars(module).update(
    asyncio=asyncio,
    aiohttp=aiohttp,
    Any=typing.Any,
    log=logging.getLogger(__name__),
    RAG_EMBEDDING_PREFIX_FIELD_NAME=None,
    ENABLE_FORWARD_USER_INFO_HEADERS=False,
    AIOHTTP_CLIENT_TIMEOUT=300,
    AIOHTTP_CLIENT_SESSION_SSL=True,
)
body = functions("open_webui/utils/headers.py") + functions("open_webui/retrieval/utils.py")
assert {node.name for node in body} == WANTED, sorted(node.name for node in body)
future = ast.ImportFrom("__future__", [ast.alias("annotations")], 0)
exec(compile(ast.fix_missing_locations(ast.Module([future, *body], [])), "open-webui", "exec"), vars(module))


def embedding_function(batch_size: int):
    return module.get_embedding_function("openai", model, None, base, "sk-any", batch_size)


async def main() -> list:
    return [await embedding_function(batch_size)(texts) for batch_size in (16, 2)]


print(json.dumps(asyncio.run(main())))

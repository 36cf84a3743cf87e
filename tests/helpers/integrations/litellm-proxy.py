"""LiteLLM's proxy, unmodified, between the openai client and kubembed: prints the vectors of the texts, as numbers and as base64."""

import json
import os
import pathlib
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import openai

base, model, *texts = sys.argv[1:]
CONFIG = {"model_list": [{"model_name": "search", "litellm_params": {"model": f"openai/{model}", "api_base": base, "api_key": "any"}}]}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until_alive(url: str, process: subprocess.Popen) -> None:
    while process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    sys.exit(f"the proxy ended with {process.returncode}")


port = free_port()
key = f"sk-{secrets.token_hex(32)}"
with tempfile.TemporaryDirectory() as folder:
    config = pathlib.Path(folder, "config.yaml")
    config.write_text(json.dumps(CONFIG))
    # The list of prices that comes with the package: the proxy would fetch a newer one.
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": key}
    command = [str(pathlib.Path(sys.executable).parent / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    proxy = subprocess.Popen(command, cwd=folder, env=environment, stdout=sys.stderr)
    try:
        wait_until_alive(f"http://127.0.0.1:{port}/health/liveliness", proxy)
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0)
        answers = [
            client.embeddings.create(model="search", input=texts, encoding_format="float"),
            client.embeddings.create(model="search", input=texts),
        ]
        print(json.dumps([[item.embedding for item in answer.data] for answer in answers]))
    finally:
        proxy.terminate()
        proxy.wait()

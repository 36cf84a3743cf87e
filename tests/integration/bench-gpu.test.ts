// The GPU bench from its command line to its tables, where there is no GPU: the CPU and small models stand in, and a script for nvidia-smi.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';
import { ROOT } from '../../bench/machine.ts';

const folder = mkdtempSync(join(tmpdir(), 'kubembed-bench-gpu-'));
afterAll(() => rmSync(folder, { recursive: true }));

function script(name: string, ...lines: readonly string[]): string {
  const path = join(folder, name);
  writeFileSync(path, lines.join('\n'), { mode: 0o755 });
  return path;
}

/** A card that is 71 per cent busy; 600 MiB are taken while anybody watches. */
script(
  'nvidia-smi',
  '#!/bin/sh',
  'case "$*" in',
  '  *name,driver_version*) echo "NVIDIA Stand-in, 580.1, 81559" ;;',
  '  *--loop-ms*) while :; do echo "71, 1600"; sleep 0.02; done ;;',
  '  *) echo "0, 1000" ;;',
  'esac',
);

/** Speaks as vLLM's server does, and gives the same vector for every text. */
const vllm = script(
  'vllm',
  `#!${process.execPath}`,
  "const { createServer } = require('node:http');",
  "const port = Number(process.argv[process.argv.indexOf('--port') + 1]);",
  'createServer(async (request, response) => {',
  '  const { input } = JSON.parse(Buffer.concat(await request.toArray()).toString());',
  '  const embedding = Array.from({ length: 64 }, (_, at) => (at === 0 ? 1 : 0));',
  '  const data = [input].flat().map((_, index) => ({ index, embedding }));',
  "  response.setHeader('content-type', 'application/json').end(JSON.stringify({ data }));",
  "}).listen(port, '127.0.0.1');",
);

async function bench(args: readonly string[], path: string) {
  const command = ['--disable-warning=ExperimentalWarning', 'bench/main.ts', 'gpu', ...args];
  const run = promisify(execFile)(process.execPath, command, { cwd: ROOT, env: { ...process.env, PATH: path } });
  return await run.then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: unknown) => error as { readonly code: number; readonly stdout: string; readonly stderr: string },
  );
}

it('says in a sentence what is missing where there is no GPU', async () => {
  const { code, stdout, stderr } = await bench([], dirname(process.execPath));
  expect([code, stdout]).toEqual([1, '']);
  expect(stderr).toMatch(
    /^The GPU bench cannot run here: nvidia-smi finds no NVIDIA GPU \(.+\); .+CUDA provider.+\.\n$/,
  );
});

it('measures model by model, with everybody who is there, and then two models at once', async () => {
  const short = ['--seconds', '0.2', '--warm-up', '0.1', '--cells', 'A:1,A:64,L:1'];
  const args = ['--stand-in', '--quick', ...short, '--models', 'qwen3,gemma', '--vllm', vllm, '--python', '/nowhere'];
  const { code, stdout, stderr } = await bench(args, [folder, process.env['PATH']].join(delimiter));
  expect(code, stderr).toBe(0);
  const parts = stdout.split('## ').slice(1);
  expect(parts.map((part) => part.split('\n', 1)[0])).toEqual([
    'Qwen3 as Qwen3-Embedding-0.6B',
    'Gemma 3 as EmbeddingGemma',
    'Two models on one card',
  ]);
  const rate = String.raw`[\d,]*[1-9][\d,]*`;
  for (const part of parts.slice(0, 2)) {
    expect(part).toContain('no GPU: small models on the CPU stand in for it');
    expect(part).toContain('| card busy, A:64, float32 | 71 % | ≥ 60 % | met |');
    expect(part).toMatch(/a text of 512 tokens, float32 \| 600 MiB more .*ONNX Runtime does not say/);
    expect(part).toMatch(/to sentence-transformers in float32, float32 \| – .*not compared/);
    for (const cell of ['A:1', 'A:64', 'L:1']) {
      expect(part).toMatch(new RegExp(`\\| ${cell} \\| kubembed, float32 \\| ${rate} \\|.*\\| 71 % \\| 600 \\|`));
      expect(part).toMatch(new RegExp(`\\| ${cell} \\| vLLM, float32 \\| ${rate} \\|`));
    }
    expect(part).toContain('Failed requests: 0.');
    expect(part).toContain('Left out: sentence-transformers, float32: no Python environment (npm run bench -- setup)');
  }
  for (const title of ['Qwen3 as Qwen3-Embedding-0.6B', 'Gemma 3 as EmbeddingGemma']) {
    expect(parts[2]).toMatch(
      new RegExp(`\\| ${title}, float32 \\| ${rate} \\| ${rate} \\| .* \\| 0 \\| .*: met\\) \\|`),
    );
  }
});

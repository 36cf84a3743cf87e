// Schemathesis: requests made from a service's own OpenAPI document, answers held against it.
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { pythonTool } from './python-tools.ts';

const run = promisify(execFile);

export interface ServedModel {
  readonly id: string;
  readonly dimensions: number;
  readonly vocabulary: number;
}

/** Its report; clean when every answer was what the document says. */
export async function schemathesis(url: string, model: ServedModel): Promise<{ clean: boolean; report: string }> {
  const bounds = ['--max-examples', '30', '--generation-deterministic', '--no-color'];
  const env = {
    ...process.env,
    PYTHONPATH: import.meta.dirname,
    PYTHONDONTWRITEBYTECODE: '1',
    SCHEMATHESIS_HOOKS: 'schemathesis_limits',
    API_MODEL: model.id,
    API_DIMENSIONS: String(model.dimensions),
    API_VOCABULARY: String(model.vocabulary),
  };
  // It keeps notes in the folder that it runs in.
  const options = { cwd: tmpdir(), env, maxBuffer: 64 * 1024 * 1024 };
  try {
    const { stdout } = await run(pythonTool('schemathesis'), ['run', `${url}/openapi.json`, ...bounds], options);
    return { clean: true, report: stdout };
  } catch (error) {
    const { stdout } = error as { stdout?: string };
    if (stdout === undefined) throw error;
    return { clean: false, report: stdout };
  }
}

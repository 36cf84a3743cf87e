// Stands in for Python where there is no PyTorch: gives what the two scripts of the recipe in docs/models.md made where there was.
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const MADE = join(import.meta.dirname, '..', 'fixtures', 'recipe');

const SCRIPTS = {
  'tools/fixtures/make-twins.py': (out, ...names) => {
    for (const name of names) cpSync(join(MADE, 'twins', name), join(out, name), { recursive: true });
  },
  'tools/fixtures/make-config-keys.py': (out) => {
    const families = {
      ...JSON.parse(readFileSync(out, 'utf8')),
      ...JSON.parse(readFileSync(join(MADE, 'config-keys.json'), 'utf8')),
    };
    const lines = Object.entries(families)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, keys]) => `${JSON.stringify(name)}: ${JSON.stringify(keys)}`);
    writeFileSync(out, `{\n${lines.join(',\n')}\n}\n`);
  },
};

const [script = '', ...rest] = process.argv.slice(2);
SCRIPTS[script](...rest);

// Stands in for Python where there is no PyTorch: gives what the two scripts of the recipe in docs/models.md made where there was.
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const MADE = join(import.meta.dirname, '..', 'fixtures', 'recipe');

const SCRIPTS = {
  'tools/fixtures/make-twins.py': (out, ...names) => {
    for (const name of names) cpSync(join(MADE, 'twins', name), join(out, name), { recursive: true });
  },
  'tools/fixtures/make-config-keys.py': (out) => {
    // A family a line.
    const linesOf = (file) =>
      readFileSync(file, 'utf8')
        .split('\n')
        .slice(1, -2)
        .map((line) => line.replace(/,$/, ''));
    const lines = [...linesOf(out), ...linesOf(join(MADE, 'config-keys.json'))].sort();
    writeFileSync(out, `{\n${lines.join(',\n')}\n}\n`);
  },
};

const [script = '', ...rest] = process.argv.slice(2);
SCRIPTS[script](...rest);

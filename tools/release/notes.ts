// `node tools/release/notes.ts VERSION REGISTRY`: the notes of a release, from CHANGELOG.md, and how to install and verify it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The section of a version, without its heading; undefined when there is none. */
export function notesOf(changelog: string, version: string): string | undefined {
  const sections = changelog.split(/^## /m).slice(1);
  const section = sections.find((text) => /^\[?([^\s\]]+)\]?/.exec(text)?.[1] === version);
  return section?.slice(section.indexOf('\n') + 1).trim();
}

export function releaseNotes(changelog: string, version: string, registry: string): string {
  const notes = notesOf(changelog, version);
  if (notes === undefined) throw new Error(`CHANGELOG.md has no section "## ${version}"`);
  const [host, owner, repository] = registry.split('/');
  return `${notes}

### Install

\`\`\`sh
helm install kubembed oci://${registry}/charts/kubembed --version ${version} --namespace kubembed --create-namespace
\`\`\`

Images: \`${registry}/kubembed/{operator,runtime,runtime-gpu}:${version}\`, with a bill of materials and provenance attached. Images and chart are signed without a key (registry ${host}):

\`\`\`sh
cosign verify ${registry}/kubembed/operator:${version} \\
  --certificate-oidc-issuer https://token.actions.githubusercontent.com \\
  --certificate-identity-regexp '(?i)^https://github.com/${owner}/${repository}/\\.github/workflows/release\\.yml@refs/tags/v'
\`\`\`
`;
}

if (import.meta.main) {
  const [version, registry] = process.argv.slice(2);
  if (version === undefined || registry === undefined)
    throw new Error('usage: node tools/release/notes.ts VERSION REGISTRY');
  const changelog = readFileSync(join(import.meta.dirname, '..', '..', 'CHANGELOG.md'), 'utf8');
  process.stdout.write(releaseNotes(changelog, version, registry));
}

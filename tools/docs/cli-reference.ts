// The reference page of the `kubembed` command, from the help that it prints. Pure.
import { isGroup, sayCommand } from '../../cli/command.ts';
import type { Command, Commands } from '../../cli/command.ts';

const section = (name: string, { summary, usage: said }: Command): string => {
  const usage = sayCommand(said, 'kubembed');
  const [synopsis = '', about = ''] = usage.split(/\n\n([^]*)/);
  // What is aligned by blanks stays as it is; sentences are sentences.
  const isProse = about !== '' && !/^ /m.test(about);
  // The second line stands below "Usage: " in a terminal.
  const code = (isProse ? synopsis : usage).replaceAll(/\n {7}(?=kubembed )/g, '\n');
  return [`## ${name}`, `${summary}.`, `\`\`\`text\n${code}\n\`\`\``, ...(isProse ? [about] : [])].join('\n\n');
};

const sections = (commands: Commands): string[] =>
  Object.entries(commands).flatMap(([name, entry]) =>
    isGroup(entry)
      ? Object.entries(entry.commands).map(([sub, command]) => section(`${name} ${sub}`, command))
      : [section(name, entry)],
  );

export const renderCli = (commands: Commands): string => `# Command line

\`npx kubembed COMMAND\` in a clone of the repository. \`embed\`, \`bench\` and \`status\` talk to any server of the OpenAI embeddings API: that of \`--endpoint\`,
else of \`KUBEMBED_ENDPOINT\` or \`OPENAI_BASE_URL\`, else local mode on this machine (port \`EMBEDDINGS_PORT\` or 11445); the key is that of \`--key\`, else \`OPENAI_API_KEY\`.

The exit code is 0 on success, 1 on failure (also when a model that was checked cannot be served, or nothing could be learned of it), and 2 when the command line is wrong. With \`--json\` answers go to standard
output as JSON and errors to standard error as \`{"error": {"message", "reason"}}\`. Colours appear on a terminal; \`NO_COLOR\` and \`FORCE_COLOR\` are respected.

${sections(commands).join('\n\n')}
`;

// `kubembed completion`: a script for bash, zsh or fish, made from the table of commands.
import { suggestion } from '../../common/util/text.ts';
import { isGroup, parse, SELF, UsageError } from '../command.ts';
import type { Command, Commands } from '../command.ts';

interface Completion {
  /** `models check`; empty for the top. */
  readonly path: string;
  readonly words: readonly { readonly word: string; readonly summary: string }[];
  readonly options: readonly {
    readonly name: string;
    readonly takesValue: boolean;
    readonly values: readonly string[];
  }[];
}

const HELP = { name: 'help', takesValue: false, values: [] };

const ofCommand = (path: string, { options, choices = {} }: Command): Completion => ({
  path,
  words: (choices[''] ?? []).map((word) => ({ word, summary: '' })),
  options: [
    ...Object.entries(options).map(([name, { type }]) => ({
      name,
      takesValue: type === 'string',
      values: choices[name] ?? [],
    })),
    HELP,
  ],
});

const summaries = (commands: Commands): Completion['words'] =>
  Object.entries(commands).map(([word, { summary }]) => ({ word, summary }));

export const completionsOf = (commands: Commands): readonly Completion[] => [
  { path: '', words: summaries(commands), options: [HELP, { ...HELP, name: 'version' }] },
  ...Object.entries(commands).flatMap(([name, entry]): readonly Completion[] =>
    isGroup(entry)
      ? [
          { path: name, words: summaries(entry.commands), options: [HELP] },
          ...Object.entries(entry.commands).map(([sub, command]) => ofCommand(`${name} ${sub}`, command)),
        ]
      : [ofCommand(name, entry)],
  ),
];

const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;

const caseOf = (pattern: string, words: readonly string[], more = ''): string =>
  `    ${quoted(pattern)}) candidates=${quoted(words.join(' '))}${more} ;;\n`;

/** Patterns of a `case` over "<path>:<option before the cursor>". */
const valueCases = ({ path, options }: Completion): string =>
  options
    .map(({ name, takesValue, values }) => (takesValue ? caseOf(`${path}:--${name}`, values, '; value=1') : ''))
    .join('');

const wordCases = ({ path, words, options }: Completion): string =>
  caseOf(path, [...words.map(({ word }) => word), ...options.map(({ name }) => `--${name}`)]);

const pathPattern = (completions: readonly Completion[]): string =>
  completions
    .map(({ path }) => path)
    .filter((path) => path !== '')
    .map((path) => quoted(path))
    .join('|');

/** Finds which command the words before the cursor have named, as POSIX shell both bash and zsh run. */
const locate = (completions: readonly Completion[]): string => `  local named='' word candidates='' value=0
  for word in "\${before[@]}"; do
    case "\${named:+$named }$word" in
      ${pathPattern(completions)}) named="\${named:+$named }$word" ;;
    esac
  done
  case "$named:$previous" in
${completions.map(valueCases).join('')}  esac
  if [ $value = 0 ]; then
    case "$named" in
${completions.map(wordCases).join('')}    esac
  fi`;

export const bashScript = (completions: readonly Completion[]): string => `# bash completion of kubembed
_kubembed() {
  local before=("\${COMP_WORDS[@]:1:COMP_CWORD-1}") previous="\${COMP_WORDS[COMP_CWORD-1]}"
${locate(completions)}
  COMPREPLY=($(compgen -W "$candidates" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _kubembed kubembed
`;

export const zshScript = (completions: readonly Completion[]): string => `#compdef kubembed
_kubembed() {
  local -a before
  before=("\${(@)words[2,CURRENT-1]}")
  local previous="\${words[CURRENT-1]}"
  _kubembed_words
}
_kubembed_words() {
${locate(completions)}
  if [ -n "$candidates" ]; then
    compadd -- \${=candidates}
  else
    _files
  fi
}
compdef _kubembed kubembed
`;

const fishCondition = (path: string, completions: readonly Completion[]): string => {
  if (path === '') return '__fish_use_subcommand';
  const [name = '', sub] = path.split(' ');
  const subs = completions
    .filter((one) => one.path.startsWith(`${name} `))
    .map((one) => one.path.slice(name.length + 1));
  if (sub !== undefined) return `__fish_seen_subcommand_from ${name}; and __fish_seen_subcommand_from ${sub}`;
  const own = `__fish_seen_subcommand_from ${name}`;
  return subs.length === 0 ? own : `${own}; and not __fish_seen_subcommand_from ${subs.join(' ')}`;
};

const fishLines = (completion: Completion, completions: readonly Completion[]): readonly string[] => {
  const start = `complete -c kubembed -n ${quoted(fishCondition(completion.path, completions))}`;
  const options = completion.options.map(({ name, takesValue, values }) => {
    const taken = takesValue ? ` -r${values.length > 0 ? ` -f -a ${quoted(values.join(' '))}` : ''}` : ' -f';
    return `${start} -l ${name}${taken}`;
  });
  const words = completion.words.map(
    ({ word, summary }) => `${start} -f -a ${quoted(word)}${summary === '' ? '' : ` -d ${quoted(summary)}`}`,
  );
  return [...words, ...options];
};

export const fishScript = (completions: readonly Completion[]): string =>
  ['# fish completion of kubembed', ...completions.flatMap((one) => fishLines(one, completions)), ''].join('\n');

const SCRIPTS = { bash: bashScript, zsh: zshScript, fish: fishScript } as const;
const SHELLS = Object.keys(SCRIPTS) as (keyof typeof SCRIPTS)[];

export const completionCommand = (commands: () => Commands): Command => ({
  summary: 'Print a completion script for a shell',
  usage: `kubembed completion bash|zsh|fish

  bash   source <(${SELF} completion bash)
  zsh    source <(${SELF} completion zsh)      after "autoload -U compinit && compinit"
  fish   ${SELF} completion fish | source

It completes the word "kubembed". If you type "npx kubembed", make an alias first: alias kubembed='npx kubembed'`,
  options: {},
  choices: { '': SHELLS },
  async run(args, io) {
    const { positionals } = parse(args, {});
    const [given] = positionals;
    const shell = SHELLS.find((name) => name === given);
    if (shell === undefined) {
      throw new UsageError(
        given === undefined
          ? `Name a shell: ${SHELLS.join(', ')}.`
          : `No completion for "${given}".${suggestion(given, SHELLS)}`,
      );
    }
    io.write(SCRIPTS[shell](completionsOf(commands())));
    return await Promise.resolve(0);
  },
});

// `kubembed completion`: a script for the shell, made from the commands themselves.
import { parse, UsageError } from '../command.ts';
import type { Command, Commands } from '../command.ts';
import { bashScript, completionsOf, fishScript, zshScript } from '../completion-scripts.ts';
import { suggestion } from '../../common/util/text.ts';

const SCRIPTS = { bash: bashScript, zsh: zshScript, fish: fishScript } as const;
const SHELLS = Object.keys(SCRIPTS) as (keyof typeof SCRIPTS)[];

export const completionCommand = (commands: () => Commands): Command => ({
  summary: 'Print a completion script for a shell',
  usage: `kubembed completion bash|zsh|fish

  bash   source <(kubembed completion bash)
  zsh    source <(kubembed completion zsh)      after "autoload -U compinit && compinit"
  fish   kubembed completion fish | source`,
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

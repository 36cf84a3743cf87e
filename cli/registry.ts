// Every command by its name.
import type { Commands } from './command.ts';
import { benchCommand } from './commands/bench.ts';
import { completionCommand } from './commands/completion.ts';
import { embedCommand } from './commands/embed.ts';
import { modelsGroup } from './commands/models.ts';
import { startCommand } from './commands/start.ts';
import { statusCommand } from './commands/status.ts';

export const COMMANDS: Commands = {
  start: startCommand,
  status: statusCommand,
  embed: embedCommand,
  bench: benchCommand,
  models: modelsGroup,
  // It completes itself as well.
  completion: completionCommand(() => COMMANDS),
};

// The token for the hub: one word, from a variable or from the file that `hf auth login` writes. What cannot be sent is named.
import { readFileSync } from 'node:fs';
import { ModelError } from './files.ts';
import type { Named } from './network.ts';

/** White space around it and line breaks in it go, as huggingface_hub does; what cannot be sent is named. */
function cleanToken({ variable, value }: Named): string | undefined {
  const token = value.replace(/[\r\n]/g, '').trim();
  if (token === '') return undefined;
  if (/^["'].*["']$/.test(token))
    throw new ModelError('GatedRepository', `${variable} has quotation marks around the token: take them away`);
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new ModelError(
    'GatedRepository',
    `${variable} holds no token: there are blanks or characters beyond ASCII in it. A token is one word, such as hf_…`,
  );
}

/** Undefined where there is none. */
export function readToken(given: Named | undefined, tokenFile: string | undefined): string | undefined {
  if (given !== undefined) return cleanToken(given);
  if (tokenFile === undefined) return undefined;
  let value: string;
  try {
    value = readFileSync(tokenFile, 'utf8');
  } catch {
    // Most have none.
    return undefined;
  }
  return cleanToken({ variable: tokenFile, value });
}

// What looks like a credential, by the marks that their issuers give them. Names of kinds alone: findings are printed.

const KINDS: Readonly<Record<string, RegExp>> = {
  'Hugging Face token': /\bhf_[A-Za-z0-9]{30,}\b/,
  'npm token': /\bnpm_[A-Za-z0-9]{36}\b|_authToken\s*=\s*[^\s$]{8}/,
  'GitHub token': /\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_\w{60}/,
  'AWS key': /\bAKIA[0-9A-Z]{16}\b/,
  'Google key': /\bAIza[\w-]{35}\b/,
  'OpenAI key': /\bsk-(proj-)?[A-Za-z0-9]{40,}\b/,
  'Slack token': /\bxox[abpr]-[\w-]{20,}\b/,
  'private key': /-----BEGIN ([A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}/,
};

export const secretsIn = (text: string): string[] =>
  Object.entries(KINDS)
    .filter(([, pattern]) => pattern.test(text))
    .map(([kind]) => kind);

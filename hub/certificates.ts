// The certificates that are trusted on the way to the hub: Node's own, and those of a file; and what to say where one is not.
import { readFileSync } from 'node:fs';
import { getCACertificates } from 'node:tls';
import { ModelError } from './files.ts';
import type { Named } from './network.ts';

export function readCertificates({ variable, value }: Named): string[] {
  let text: string;
  try {
    text = readFileSync(value, 'utf8');
  } catch (error) {
    throw new ModelError(
      'HubUnreachable',
      `${variable} names ${value}, which cannot be read (${(error as NodeJS.ErrnoException).code ?? ''})`,
      { cause: error },
    );
  }
  if (!text.includes('-----BEGIN CERTIFICATE-----'))
    throw new ModelError('HubUnreachable', `${variable} names ${value}, which holds no certificate in PEM form`);
  // Beside Node's own, to which NODE_EXTRA_CA_CERTS belongs.
  return [...getCACertificates('default'), text];
}

const UNTRUSTED = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

/** A certificate that no repetition makes trusted, in words; undefined for all other failures. */
export function explainUntrusted(
  origin: string,
  { code, words }: { readonly code: string; readonly words: string },
): ModelError | undefined {
  if (!UNTRUSTED.has(code)) return undefined;
  return new ModelError(
    'HubUnreachable',
    `${origin}: its certificate is not trusted (${words}). Where a proxy or mirror has a certificate of your own authority, name that authority's file in SSL_CERT_FILE, REQUESTS_CA_BUNDLE or NODE_EXTRA_CA_CERTS`,
  );
}

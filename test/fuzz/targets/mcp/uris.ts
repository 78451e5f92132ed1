/** URIs of resources: one that a rule can allow has no other spelling, and leads out of no folder. */
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { utf8, utf8Text } from '@chancery/shared/ground/bytes.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { compileUriPattern, whyNoUri } from '@chancery/shared/policy/patterns/uri.ts';
import { law, type Target } from '../../engine.ts';

const SEEDS = [
  'file:///srv/notes/a%20b.txt',
  'https://prod.example:8443/a/b?c=d&e=%C3%A9',
  'http://[::1]:8080/x',
  'http://127.0.0.1/x',
  'repo://acme/x%2Fy',
  'urn:isbn:0451450523',
];
const ALLOWED = compileUriPattern('file:///srv/*');
const TEMPLATE = compileUriPattern('repo://{owner}/{name}');

const uri: Target = {
  name: 'mcp-uri',
  says: 'URIs of resources: those that a rule can allow, as other parsers read them',
  shape: 'bytes',
  maxBytes: 4 * 1024,
  open: () => ({
    seeds: SEEDS.map(utf8),
    run: (input) => {
      const text = utf8Text(input, 'mcp_parse', 'the URI is not UTF-8');
      const why = whyNoUri(text);
      if (why !== undefined) throw new IdentityError('mcp_parse', why);
      if (URL.canParse(text)) law(new URL(text).href === text, 'the URL parser spells it in another way');
      if (ALLOWED.matches(text)) law(pathOf(text).startsWith('/srv/'), 'it leads out of its folder');
      if (TEMPLATE.matches(text)) law(text.split('/').length === 4, 'a template matches more than a segment');
      return undefined;
    },
  }),
};

/** As a server that decodes it sees it; Node refuses `%2F` there. */
const pathOf = (text: string): string =>
  /%2F/.test(text)
    ? posix.normalize(decodeURI(text.slice('file://'.length)))
    : posix.normalize(fileURLToPath(text));

export const MCP_URIS: readonly Target[] = [uri];

/** Conditions of rules with the arguments that they are asked about: refused with a reason, or answered. */
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { isJsonObject, parseJson } from '@chancery/shared/ground/json.ts';
import { type Call, toolNamed } from '@chancery/shared/policy/call.ts';
import { compileWhen } from '@chancery/shared/policy/condition/when.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { law, type Target } from '../../engine.ts';

const MAX_BYTES = 64 * 1024;
const NOW = new Date('2026-12-01T12:00:00Z');
const CALL: Call = {
  caller: parseSpiffeId('spiffe://prod.example/agents/triage'),
  certifiedAt: new Date(NOW.getTime() - 60_000),
  attested: { platform: 'aws', attributes: new Map([['aws.account', '42']]) },
  server: 'github',
  what: toolNamed('create_issue'),
  now: NOW,
  source: '192.0.2.7',
};

const SEEDS: readonly object[] = [
  { when: 'args.owner == "acme" && size(args.l) < 3', args: { owner: 'acme', l: ['a'] } },
  { when: 'has(args.a) ? args.a.b > 1.5 : args.n in [1, 2]', args: { a: { b: 2 }, n: 1 } },
  {
    when: 'args.l.all(x, x.matches("^[a-z]+$")) || now < timestamp("2027-01-01T00:00:00Z")',
    args: { l: ['a'] },
  },
  { when: 'caller.certificateAge < duration("1h") && source.startsWith("192.")', args: {} },
  { when: 'caller.attributes.aws.account == args.a || !has(caller.attributes.x.y)', args: { a: '42' } },
  {
    when: '!("force" in args) && args.t.contains(args.p) && int(args.id) % 2 == 0',
    args: { t: 'ab', p: 'b', id: 4 },
  },
  { when: 'args.m == {"a": [1, null]} && type(args.l) == list', args: { m: { a: [1, null] }, l: [] } },
];

const condition: Target = {
  name: 'condition',
  says: 'conditions of rules, and what they say of arguments that are known or not',
  shape: 'json',
  open: () => ({
    seeds: SEEDS.map((each) => utf8(JSON.stringify(each))),
    run: (input) => {
      const limits = { code: 'mcp_parse', maxBytes: MAX_BYTES, maxDepth: 64, spelledFrom: 1 } as const;
      const read = parseJson(input, { ...limits, oddStrings: 'values' });
      const { when, args } = isJsonObject(read) ? read : {};
      ensure(typeof when === 'string' && isJsonObject(args), 'mcp_parse', 'neither condition nor arguments');
      const { answer } = compileWhen(when);
      const [known, again, unknown] = [
        answer({ ...CALL, arguments: args }),
        answer({ ...CALL, arguments: args }),
        answer({ ...CALL }),
      ];
      law(known === again, 'the same question has two answers');
      const isOther = typeof known === 'boolean' && typeof unknown === 'boolean' && known !== unknown;
      law(!isOther, 'what is decided without arguments is decided otherwise with them');
      return undefined;
    },
  }),
};

export const MCP_CONDITIONS: readonly Target[] = [condition];

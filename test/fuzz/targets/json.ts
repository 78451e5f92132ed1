/** JSON, as every parser of ours reads it. */
import { isDeepStrictEqual } from 'node:util';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { parseJson } from '@chancery/shared/ground/json.ts';
import { law, type Target } from '../engine.ts';

const LIMITS = { code: 'mcp_parse', maxBytes: 64 * 1024, maxDepth: 64 } as const;

const TEXTS = [
  '{"a":[1,-2.5e3,true,null,"\\u00e9\\n"],"b":{"__proto__":{"c":1}},"n":12345678901234567890}',
  '[0.1,1e400,-0,"\\ud83d\\ude00",{"":""}]',
  ' {"large": 900719925474099312345, "small": 5e-324, "exact": 0.30000000000000004 } ',
  '"text"',
];

const json: Target = {
  name: 'json',
  says: 'strict JSON: what is read is written and read again as the same, and JSON.parse agrees',
  shape: 'json',
  open: () => ({
    seeds: TEXTS.map(utf8),
    run: (input) => {
      const value = parseJson(input, LIMITS);
      const written = JSON.stringify(value);
      const again = parseJson(utf8(written), { ...LIMITS, maxBytes: LIMITS.maxBytes * 6 });
      law(JSON.stringify(again) === written, 'it is another value when it is read again');
      // Both lose digits of long numbers here, the same ones.
      const [theirs, ours] = [Buffer.from(input).toString('utf8'), written].map((text) => JSON.parse(text));
      law(
        isDeepStrictEqual(withoutMinusZero(theirs), withoutMinusZero(ours)),
        'JSON.parse reads another value',
      );
      return undefined;
    },
  }),
};

/** JSON.stringify writes -0 as 0. */
const withoutMinusZero = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

export const JSON_TARGETS: readonly Target[] = [json];

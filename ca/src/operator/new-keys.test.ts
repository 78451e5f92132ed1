/** What a dry run says of the home where a new key would be made. */
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { expect, test } from 'vitest';
import { makeRpc } from '../../../test/kit/ca/rpc.ts';
import { refusal } from '../../../test/kit/refusal.ts';

test.each([true, false])(
  'I312 a token that refuses is met by the dry run of a step (intermediate: %s)',
  async (intermediate) => {
    const { operator, keys, store } = await makeRpc();
    const ready = async () => {
      throw new IdentityError('key_refused', 'token chancery refuses the PIN');
    };
    Object.assign(keys.root, { ready });
    Object.assign(keys.intermediate, { ready });
    const before = await store.authorities();
    const root = { address: 'pid 1 uid 0', local: { uid: 0, ensureStillThere: () => {} } };
    await expect(operator.rotate(root)({ intermediate, dryRun: true })).rejects.toThrow(
      refusal('key_refused', /refuses the PIN/),
    );
    expect(await store.authorities()).toEqual(before);
  },
);

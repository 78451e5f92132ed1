import { IdentityError } from '@chancery/shared/ground/errors.ts';
import { describe, expect, test } from 'vitest';
import { refusal } from '../../../../test/kit/refusal.ts';
import { within } from './within.ts';

const away = new IdentityError('unavailable', 'the CA does not answer: ECONNREFUSED');
const cut = new IdentityError('unavailable', 'the CA has not answered yet');
const never = () => new AbortController().signal;

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));

/** An attempt that fails with `first`, and another that ends with `then` when the time is up. */
const attempts = (first: IdentityError | undefined, then: (until: AbortSignal) => unknown) =>
  within<never>(0.02, never(), async (until, givesUp) => {
    if (first !== undefined) givesUp(first);
    await aborted(until);
    throw then(until);
  });

describe('when the time is up the reason is', () => {
  test('the last failure, not that the attempt after it was cut short', async () => {
    await expect(attempts(away, () => cut)).rejects.toThrow(
      refusal('unavailable', /^no certificate in 0\.02 s: .* ECONNREFUSED; the attempt after .* cut short$/),
    );
    const closed = new IdentityError('tpm_device', 'the TPM is closed');
    await expect(attempts(away, () => closed)).rejects.toThrow(refusal('unavailable', /: .* ECONNREFUSED;/));
    await expect(attempts(away, (until) => until.reason)).rejects.toThrow(
      refusal('unavailable', /: .* ECONNREFUSED;/),
    );
  });

  test('the name of the wait, if nothing failed before', async () => {
    await expect(attempts(undefined, () => cut)).rejects.toThrow(
      refusal('unavailable', /^no certificate in 0\.02 s: the CA has not answered yet$/),
    );
    await expect(attempts(undefined, (until) => until.reason)).rejects.toThrow(
      refusal('unavailable', /: nothing has answered yet$/),
    );
  });

  test('a refusal that another attempt would not change', async () => {
    const refused = new IdentityError('refused_by_ca', 'the CA refused (PERMISSION_DENIED): no');
    await expect(attempts(away, () => refused)).rejects.toBe(refused);
  });
});

test('the caller’s own end is passed on as it is', async () => {
  const gone = AbortSignal.abort(new Error('ended by SIGTERM'));
  const attempt = within<never>(60, gone, async (until) => {
    throw until.reason;
  });
  await expect(attempt).rejects.toThrow('ended by SIGTERM');
});

/** Evidence of several platforms in one exchange; mirrors ca/attestors/prove.ts. */

import { packPieces, unpackPieces } from '@chancery/shared/evidence/pieces.ts';
import { joinPlatforms, splitPlatforms } from '@chancery/shared/evidence/platform.ts';
import { ensure, IdentityError } from '@chancery/shared/ground/errors.ts';
import type { EvidenceSource, Exchange } from './evidence.ts';

/** The only source, or all of them as one. Throws config. */
export function allOf(sources: readonly EvidenceSource[]): EvidenceSource {
  const [only] = sources;
  if (only !== undefined && sources.length === 1) return only;
  if (only === undefined) throw new IdentityError('config', 'no platform is configured');
  const sorted = sources.toSorted((a, b) => (a.platform < b.platform ? -1 : 1));
  const keeper = sorted.find(({ createKey }) => createKey !== undefined);
  return {
    platform: joinPlatforms(sorted.map(({ platform }) => platform)),
    begin: (spki, signal) => beginAll(sorted, spki, signal),
    ...(keeper?.createKey === undefined ? {} : { createKey: keeper.createKey }),
    close: async () => {
      await Promise.all(sorted.map((source) => source.close()));
    },
  };
}

/** One of the platforms is unix: its peer credentials exist only on the CA's own socket. */
export const isLocal = ({ platform }: EvidenceSource): boolean => splitPlatforms(platform).includes('unix');

async function beginAll(
  sources: readonly EvidenceSource[],
  spki: Uint8Array,
  signal: AbortSignal,
): Promise<Exchange> {
  const begun = await Promise.allSettled(sources.map((source) => source.begin(spki, signal)));
  const exchanges = begun.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const end = async (): Promise<void> => {
    await Promise.all(exchanges.map((exchange) => exchange.end()));
  };
  const failed = begun.find((each) => each.status === 'rejected');
  if (failed !== undefined) {
    await end();
    throw failed.reason;
  }
  const names = sources.map(({ platform }) => platform);
  return {
    opening: packPieces(exchanges.map(({ opening }) => (opening.length === 0 ? undefined : opening))),
    answer: async (question, binding) => {
      const questions = unpackPieces(question, names);
      ensure(
        questions.some((each) => each !== undefined),
        'evidence_parse',
        'the CA asks nothing of any platform',
      );
      const answers = questions.map((each, index) =>
        each === undefined ? undefined : exchanges[index]?.answer(each, binding),
      );
      return packPieces(await Promise.all(answers));
    },
    end,
  };
}

/** The operator's verbs about what waits for a second person. */
import type { OperatorStore, StoredRequest } from '../store/operator-store.ts';
import { reading, type VerbDeps, writing } from './verb.ts';

export interface CountersignDeps extends VerbDeps {
  readonly store: Pick<OperatorStore, 'requests' | 'countersign' | 'withdraw'>;
}

/** `countersign` and `withdraw` take the number of a request. Throws countersign. */
export const countersignVerbs = (deps: CountersignDeps) => ({
  requests: reading('requests', async (_: undefined) => deps.store.requests(), deps),
  countersign: writing<number, StoredRequest>(
    {
      name: 'countersign',
      about: (number) => `request ${number}`,
      run: (number, by, { person }) =>
        deps.store.countersign(number, { person: person?.id, peer: person?.peer, by }),
    },
    deps,
  ),
  withdraw: writing<number, StoredRequest>(
    {
      name: 'withdraw',
      about: (number) => `request ${number}`,
      run: (number, by, { person }) => deps.store.withdraw(number, { person: person?.id, by }),
    },
    deps,
  ),
});

/** A CA in memory that rotates, and offline roots in folders of their own whose answers it takes. */
import { issue } from '@chancery/ca/authority/issue.ts';
import { planVouching, signVoucher } from '@chancery/ca/ceremony/voucher.ts';
import { openRequests } from '@chancery/ca/offline/requests.ts';
import { openRotation } from '@chancery/ca/rotation/rotation.ts';
import type { StepOrder } from '@chancery/ca/rotation/status.ts';
import type { RotationDeps } from '@chancery/ca/rotation/step.ts';
import { utf8 } from '@chancery/shared/ground/bytes.ts';
import { addSeconds } from '@chancery/shared/ground/clock.ts';
import { parseSpiffeId } from '@chancery/shared/spiffe/id.ts';
import { proven } from './authority.ts';
import { offlineRoot } from './ceremony.ts';
import { makeRpc } from './rpc.ts';

export type Offline = Awaited<ReturnType<typeof offlineRoot>>;
export type OfflineCa = Awaited<ReturnType<typeof makeOfflineCa>>;

const BY = 'ada';
const PLAIN: StepOrder = { without: [], everybody: false, reason: '', dryRun: false };
let rooms = 0;

/** With an online root and nothing offline yet, from the start of the kit's time. */
export async function makeOfflineCa(folder: string) {
  rooms += 1;
  const rpc = await makeRpc();
  const deps: RotationDeps = {
    ...rpc,
    // Nobody is waited for.
    clock: { now: () => rpc.clock.now(), sleepUntil: async () => {} },
    own: { leave: async () => {}, settle: async () => {} },
    ensureSteady: () => {},
  };
  const [rotation, requests] = [
    openRotation(deps),
    openRequests({ ...rpc, onList: () => {}, folder: `${folder}/requests-${rooms}` }),
  ];
  const [first, second] = [
    await offlineRoot(folder, rpc.trustDomain),
    await offlineRoot(folder, rpc.trustDomain),
  ];
  const now = () => rpc.clock.now();
  const next = (changes: Partial<StepOrder> = {}) => rotation.next({ ...PLAIN, ...changes }, BY);
  const to = (root: Offline, dryRun = false) => rotation.start(BY, dryRun, undefined, root.root);
  const states = async () => {
    const roots = (await rpc.store.authorities()).filter(({ kind }) => kind === 'root');
    return Object.fromEntries(roots.map(({ serial, state }) => [serial, state]));
  };
  /** The file of this kind that waits for this root. */
  async function carried(kind: 'intermediate' | 'voucher' | 'crl', root: Offline): Promise<string> {
    await requests.keepUp();
    const found = requests.known().find((each) => each.kind === kind && each.root === root.root.serial);
    if (found === undefined) throw new Error(`no ${kind} is asked for`);
    return found.pem;
  }
  const signed = async (root: Offline) => root.sign(await carried('intermediate', root), { now: now() });
  const take = (answer: string, dryRun = false) => requests.take(utf8(answer), BY, dryRun);
  async function vouched({ dir, root, signer }: Offline, request?: string): Promise<string> {
    const bytes = utf8(request ?? (await carried('voucher', { dir, root, signer } as Offline)));
    return signVoucher(planVouching({ dir, root, request: bytes, now: now() }), signer);
  }
  const takeVoucher = (answer: string, dryRun = false) => rotation.takeVoucher(utf8(answer), BY, dryRun);
  const passes = (seconds: number): void => rpc.clock.jump(addSeconds(now(), seconds));
  const certificate = async () =>
    issue(
      {
        ...{ id: parseSpiffeId('spiffe://prod.example/web'), platform: 'fake', node: 'n1', identity: 'web' },
        ...{ ttlSeconds: 60, dnsNames: [], key: await proven() },
      },
      rpc,
    );
  return {
    ...{
      rpc,
      deps,
      rotation,
      requests,
      first,
      second,
      by: BY,
      next,
      to,
      states,
      carried,
      signed,
      take,
      vouched,
    },
    ...{ takeVoucher, passes, certificate },
    back: () => rotation.rollback(BY, false),
    stage: async () => (await rotation.status()).stage,
    active: async () => Object.entries(await states()).find(([, state]) => state === 'active')?.[0],
    /** A whole rotation to this offline root. */
    become: async (root: Offline) => {
      await to(root);
      await take(await signed(root));
      await next();
      passes(3600);
      await next();
    },
  };
}

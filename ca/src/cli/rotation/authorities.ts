/** `authorities`: what signs, the names by which one is meant, and what an offline root is asked for. */
import type { Authority } from '@chancery/proto/gen/chancery/v1/rotation.ts';
import {
  type Command,
  type ExitStatus,
  type Invocation,
  type Io,
  JSON_FLAG,
  MisuseError,
  meant,
} from '@chancery/shared/cli/program.ts';
import { printable } from '@chancery/shared/text/printable.ts';
import { instant, OPERATOR_FLAGS, printJson, printTable } from '../flags.ts';
import { callOperator } from '../operator/admin.ts';
import { importAuthority, requestAbove, requestAuthority, requestLine } from './offline.ts';

const WORDS = ['request', 'import'];

export const authorities: Command = {
  says:
    'Lists the authorities of the CA: roots, intermediates, JWT keys, their states. `request` shows what roots that ' +
    'are offline are asked for, or asks for an intermediate; with --above it makes the request of a root for a ' +
    'CA above this one. `import` takes what the offline root or the CA above has signed.',
  positionals: '[request [--above [ROOT]] | import FILE]',
  words: WORDS,
  flags: {
    all: { type: 'boolean', says: 'The list: also those that ended.' },
    output: {
      type: 'string',
      short: 'o',
      value: 'DIR',
      says: 'request: also write what is asked for to this new folder.',
    },
    above: {
      type: 'boolean',
      says: 'request: make the request of a root (the one that signs, or ROOT) for a CA above to sign.',
    },
    root: {
      type: 'string',
      value: 'FILE',
      says: 'import: the root of the CA above (PEM), so that its signature is verified as well.',
    },
    'dry-run': {
      type: 'boolean',
      says: 'import: only say whether the answer would be taken. request: ask for nothing.',
    },
    ...OPERATOR_FLAGS,
    ...JSON_FLAG,
  },
  run(invocation, io) {
    const [form = '', file, ...more] = invocation.positionals;
    const [output, dryRun] = [invocation.text('output'), invocation.has('dry-run')];
    const [all, above, root] = [invocation.has('all'), invocation.has('above'), invocation.text('root')];
    const isBare = !above && root === undefined;
    if (form === '' && output === undefined && !dryRun && isBare) return list(invocation, io);
    if (form === 'request' && !all && root === undefined && more.length === 0) {
      if (above) return requestAbove(file, invocation, io);
      if (file === undefined) return requestAuthority(invocation, io);
    }
    if (
      form === 'import' &&
      file !== undefined &&
      more.length === 0 &&
      output === undefined &&
      !all &&
      !above
    )
      return importAuthority(file, invocation, io);
    throw new MisuseError(
      'give request [--above [ROOT]] [-o DIR | --dry-run], import FILE [--root FILE] [--dry-run] or nothing' +
        meant(form, WORDS),
    );
  },
};

async function list(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const answer = await callOperator(invocation, (client) => client.listAuthorities, {});
  const { requests } = await callOperator(invocation, (client) => client.listAuthorityRequests, {});
  const now = BigInt(Math.floor(Date.now() / 1000));
  // A JWT key has no end; it is over when it was removed.
  const isOver = ({ kind, state, notAfter }: Authority): boolean =>
    kind === 'jwt' ? state === 'removed' || state === 'tainted' : notAfter <= now;
  const shown = answer.authorities.filter((each) => invocation.has('all') || !isOver(each));
  if (invocation.has('json')) {
    printJson(io, { authorities: shown, requests });
    return 0;
  }
  printTable(
    io,
    ['AUTHORITY', 'KIND', 'STATE', 'SINCE', 'UNTIL', 'KEY ID', 'KEY IN', 'CERTIFICATES'],
    shown.map(rowOf),
  );
  for (const each of shown) if (each.crossUntil > 0n) io.out(`${crossLine(each, now)}\n`);
  for (const each of requests) io.out(`${requestLine(each)}\n`);
  return 0;
}

/** Of a root that a CA above has certified. */
export function crossLine(authority: Authority, now: bigint): string {
  const { serial, state, crossUntil, crossIssuer, toRevokeAbove } = authority;
  if (toRevokeAbove !== '') return printable(toRevokeAbove);
  const by = printable(crossIssuer);
  const until = instant(crossUntil);
  const ends =
    crossUntil > now ? `until ${until}` : `which ended at ${until}: peers that trust only that refuse all`;
  if (state === 'removed')
    return `root ${serial} was removed, and was certified from above, by ${by}, ${ends}`;
  return `root ${serial} is certified from above, by ${by}, ${ends}`;
}

/** Its key was a file here, and was removed. A token or a key service may have one of a removed authority. */
const isForgotten = ({ state, keyHome }: Authority): boolean =>
  ['removed', 'tainted'].includes(state) && ['file', 'standby'].includes(keyHome);

/** As the table has it. */
export const rowOf = (each: Authority): readonly string[] => [
  each.serial,
  each.kind,
  each.state,
  instant(each.movedAt),
  each.notAfter === 0n ? '-' : instant(each.notAfter),
  each.keyId,
  isForgotten(each) ? '-' : each.keyHome,
  String(each.held?.certificates ?? 0n),
];

/** `keys rewrap`: another key-encryption key for the key files of this machine, while the CA goes on. */
import {
  type Command,
  type ExitStatus,
  type Invocation,
  type Io,
  JSON_FLAG,
  MisuseError,
} from '@chancery/shared/cli/program.ts';
import { paths, readCaConfig } from '../../config.ts';
import { rewrap } from '../../keys/rewrap.ts';
import { Bar } from '../bar.ts';
import { CONFIG_FLAG, configFile, printJson } from '../flags.ts';

/** Needs the files themselves, and not a CA that serves. */
export const keys: Command = {
  says:
    'Encrypts all key files under a new key-encryption key, while the CA serves or when it does not run; ' +
    'repeat it if it was interrupted. The old key is kept beside it as FILE.before: older backups need it.',
  positionals: 'rewrap',
  words: ['rewrap'],
  flags: {
    'dry-run': { type: 'boolean', says: 'Only look whether each key file opens.' },
    ...CONFIG_FLAG,
    ...JSON_FLAG,
  },
  run(invocation, io) {
    const [verb, ...more] = invocation.positionals;
    if (verb !== 'rewrap' || more.length > 0) throw new MisuseError('expected `rewrap`');
    return rewrapKeys(invocation, io);
  },
};

async function rewrapKeys(invocation: Invocation, io: Io): Promise<ExitStatus> {
  const settings = readCaConfig(configFile(invocation));
  const [kek, dryRun] = [settings.keyEncryptionKey, invocation.has('dry-run')];
  const { keys: folder, standbyKeys: standbyFolder } = paths(settings.dataDir);
  const bar = new Bar(invocation.has('json') ? undefined : io);
  const { files, resumed, before } = await rewrap({
    folder,
    standbyFolder,
    kek,
    dryRun,
    onProgress: (done, of) => bar.show('key files', done, of),
  });
  bar.clear();
  if (invocation.has('json')) printJson(io, { keyEncryptionKey: kek, files, resumed, before, dryRun });
  else if (dryRun) io.out(`${files} key files open; nothing was changed (dry run)\n`);
  else
    io.out(
      `${files} key files are under the new key in ${kek}${resumed ? ', which an earlier run had begun' : ''}\n` +
        `keep a copy of it elsewhere; ${before} has the old one, which backups of before need: move it away\n`,
    );
  return 0;
}

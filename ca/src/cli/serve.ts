/** `serve`: runs the CA in the foreground until SIGINT, SIGTERM or SIGQUIT. */
import { endThough } from '@chancery/shared/cli/process-io.ts';
import type { Command } from '@chancery/shared/cli/program.ts';
import type { Log, LogLevel } from '@chancery/shared/ground/log.ts';
import { hostAndPort, writeHostAndPort } from '@chancery/shared/text/address.ts';
import { giveBackFreedMemory } from '@chancery/shared/unix/freed-memory.ts';
import { readCaConfig } from '../config.ts';
import { type ServeDeps, startCa } from '../serve.ts';
import type { OnMigrating } from '../store/sqlite/file/migrating.ts';
import { Bar } from './bar.ts';
import { CONFIG_FLAG, configFile } from './flags.ts';

export interface ServeCommandDeps extends Omit<ServeDeps, 'log'> {
  readonly logAt: (level: LogLevel) => Log;
}

/** Serves until SIGINT, SIGTERM or SIGQUIT, and then closes the CA. Throws store if its database is lost. */
export const serve = (deps: ServeCommandDeps): Command => ({
  says: 'Runs the CA in the foreground until SIGINT, SIGTERM or SIGQUIT.',
  flags: CONFIG_FLAG,
  async run(invocation, io) {
    const settings = readCaConfig(configFile(invocation, ', or make one with chancery-ca init'));
    const log = deps.logAt(settings.logLevel);
    io.serves?.(() => log.info({}, 'SIGHUP ignored: restart to read the config again'));
    giveBackFreedMemory(io.signal);
    const bar = new Bar(io);
    const onMigrating: OnMigrating = ({ from, step, to }) =>
      bar.show('the changes of the schema', step - from - 1, to - from);
    const ca = await startCa(settings, { ...deps, log, onMigrating }).finally(() => bar.clear());
    endThough(ca.isBlocked);
    const { trustDomain, listen, http } = settings;
    const health = `${http.healthOnly ? 'health' : 'metrics'} on ${portIn(http.listen, ca.httpPort)}`;
    io.out(`chancery-ca serves ${trustDomain} on ${portIn(listen, ca.port)}, ${health}\n`);
    const told = new Promise<undefined>((resolve) => {
      if (io.signal.aborted) resolve(undefined);
      else io.signal.addEventListener('abort', () => resolve(undefined), { once: true });
    });
    const lost = await Promise.race([told, ca.lost]);
    if (lost !== undefined) log.error({ err: lost }, 'the CA ends');
    await ca.close();
    // A service manager starts it again.
    if (lost !== undefined) throw lost;
    return 0;
  },
});

/** With port 0 the system chose one. */
const portIn = (address: string, port: number): string =>
  writeHostAndPort({ host: hostAndPort(address).host, port });

/** The agent's config: one YAML file, read once, strictly. */
import { dirname, resolve } from 'node:path';
import { readConfigFile } from '@chancery/shared/config/config-file.ts';
import { Problems, readDocuments } from '@chancery/shared/config/yaml.ts';
import { IdentityError } from '@chancery/shared/ground/errors.ts';
import type { ServerSettings } from './mcp.ts';
import { AgentConfig, type AgentSettings, type GatewaySettings } from './schema.ts';
import { contradictions, tooLong, twice } from './together.ts';

/** The config if no flag names one and there is no ./agent.yaml. */
export const SYSTEM_CONFIG = '/etc/chancery/agent.yaml';
const NOR_HERE = ', nor ./agent.yaml; name one with --config';

/** Throws config with every problem at once. */
export const readAgentConfig = (path: string): AgentSettings =>
  parseAgentConfig(readConfigFile(path, path === SYSTEM_CONFIG ? NOR_HERE : ''), path);

/** `text` is the content of `path`; relative paths in it are relative to its folder. Throws config. */
export function parseAgentConfig(text: string, path: string): AgentSettings {
  const problems = new Problems();
  const [read, ...more] = readDocuments(text, path, AgentConfig, problems);
  const value = read && absolute(read.value, dirname(resolve(path)));
  if (read !== undefined && value !== undefined) {
    for (const [key, says] of [...contradictions(read.value), ...tooLong(value)])
      problems.add(path, read.lineOf([key]), says);
    for (const [place, twin] of twice(value))
      problems.add(
        path,
        read.lineOf(place.key),
        `${place.key.join('.')}: ${twin.key.join('.')} is ${place.value}, too; each needs its own`,
      );
  }
  problems.throwIfAny('config');
  if (read === undefined || value === undefined || more.length > 0)
    throw new IdentityError(
      'config',
      `${path}: expected one YAML document with trustDomain, ca, evidence, dataDir`,
    );
  const where = (key: readonly PropertyKey[]) => `${path}:${read.lineOf(key)}: ${key.join('.')}`;
  return { ...value, where };
}

function absolute(value: AgentSettings, here: string): AgentSettings {
  const at = (path: string) => resolve(here, path);
  const maybe = <K extends string>(key: K, path: string | undefined) =>
    path === undefined ? {} : ({ [key]: at(path) } as Record<K, string>);
  const dataDir = at(value.dataDir);
  const { ca, gateway } = value;
  return {
    ...value,
    dataDir,
    ca: { ...ca, ...maybe('bundle', ca.bundle), ...maybe('socket', ca.socket) },
    outputs: value.outputs.map((output) => ({
      ...output,
      dir: at(output.dir),
      ...(output.signal === undefined
        ? {}
        : { signal: { ...output.signal, pidFile: at(output.signal.pidFile) } }),
    })),
    ...(gateway === undefined ? {} : { gateway: absoluteGateway(gateway, dataDir, at) }),
    connect: value.connect.map((each) => ({
      ...each,
      listen: each.listen.startsWith('unix:') ? `unix:${at(each.listen.slice(5))}` : each.listen,
    })),
  };
}

function absoluteGateway(
  gateway: GatewaySettings,
  dataDir: string,
  at: (path: string) => string,
): GatewaySettings {
  const [first, ...more] = gateway.servers;
  return {
    ...gateway,
    records: gateway.records === false ? false : resolve(dataDir, gateway.records),
    servers: [absoluteServer(first, at), ...more.map((each) => absoluteServer(each, at))],
  };
}

function absoluteServer(server: ServerSettings, at: (path: string) => string): ServerSettings {
  const { upstream } = server;
  if ('socket' in upstream) return { ...server, upstream: { ...upstream, socket: at(upstream.socket) } };
  return 'url' in upstream && upstream.roots !== undefined
    ? { ...server, upstream: { ...upstream, roots: at(upstream.roots) } }
    : server;
}

/** The servers behind one listener, and which of them a path names. */
import { Buckets } from '@chancery/shared/door/buckets.ts';
import { ensure } from '@chancery/shared/ground/errors.ts';
import { ENDPOINT, endpointOf } from '../../wire/endpoint.ts';
import type { Gate } from '../exchange/gate.ts';

/** That of a resource. */
const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

const PREFIX = endpointOf('');

/** Tools that one caller may ask about: in a second, and of a large server at once. */
const ASKED = { perSecond: 500, burst: 5_000 };

export interface Named {
  readonly server: string;
  /** Undefined if the server is not behind this gateway. */
  readonly gate: Gate | undefined;
  /** False for the path of an only server, which its caller need not know by name. */
  readonly byName: boolean;
}

/** Fixed when it is made: nothing that a request brings along becomes a server. */
export class Served {
  readonly gates: readonly Gate[];
  /** Keeps the records about connections and about servers that are not here. */
  readonly first: Gate;
  /** Counts the tools that callers ask about, at all servers. */
  readonly questions: Buckets;
  readonly #byName: ReadonlyMap<string, Gate>;

  constructor(first: Gate, ...more: readonly Gate[]) {
    this.first = first;
    this.gates = [first, ...more];
    this.questions = new Buckets(ASKED, first.clock);
    this.#byName = new Map(this.gates.map((gate) => [gate.server, gate]));
  }

  /** That of a server, or of the first one where it is not known. */
  gateOf(server: string | undefined): Gate {
    return this.#byName.get(server ?? '') ?? this.first;
  }

  /**
   * Compares the path as it came, without decoding it, so that a proxy in front cannot read it differently. Throws
   * server_unknown for a path that can name no server; that of a server elsewhere is refused later, like one that the
   * caller may not reach.
   */
  find(path: string | undefined): Named {
    const { first, gates } = this;
    if (path === ENDPOINT) {
      const says = 'several servers are behind this gateway: the path is /mcp/ and the name of one of them';
      ensure(gates.length === 1, 'server_unknown', says);
      return { server: first.server, gate: first, byName: false };
    }
    return this.named(path?.startsWith(PREFIX) === true ? path.slice(PREFIX.length) : '');
  }

  /** That of this name, as a path has it. Throws server_unknown for what no server can be named. */
  named(server: string): Named {
    ensure(NAME.test(server), 'server_unknown', 'another path than the endpoint');
    return { server, gate: this.#byName.get(server), byName: true };
  }
}
